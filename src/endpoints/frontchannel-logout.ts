/**
 * `GET /bff/frontchannel-logout`: the provider's sign-out page loads it in a frame (OpenID Connect Front-Channel Logout
 * 1.0). Browsers send no `Strict` cookie there, so that `iss` and `sid` alone say which session it is. They prove nothing:
 * whoever knows a `sid` can end that session. So it is off by default, and no token is revoked at the provider.
 */
import { nowSeconds } from '../clock.ts';
import { BffError } from '../http/errors.ts';
import { framedSignOutPage } from '../http/pages.ts';
import { sendPage, single, type BffContext, type EndpointDeps } from './endpoint.ts';

export function createFrontchannelLogout({ config, sessions }: EndpointDeps) {
  const page = framedSignOutPage(new URL(config.issuer).origin);

  /** Answers the same whether or not there is such a session. @throws {BffError} `store_unavailable` */
  return async function frontchannelLogout(c: BffContext): Promise<Response> {
    const parameters = new URL(c.req.url).searchParams;
    const sid = single(parameters, 'sid');
    if (single(parameters, 'iss') !== config.issuer || typeof sid !== 'string' || sid === '') {
      throw new BffError('request_invalid', "A sign-out by the provider has its iss and the session's sid, once each.");
    }
    // No time comes along, so that this machine's must do. A later one could end what the person begins next, where the
    // provider goes on with its session.
    await sessions.revoke({ sid, issuedBefore: nowSeconds(), reason: 'frontchannel' });
    return sendPage(c, page);
  };
}

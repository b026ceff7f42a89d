/**
 * `GET /bff/frontchannel-logout`: the provider's sign-out page loads it in a frame (OpenID Connect Front-Channel Logout
 * 1.0). Browsers send no `Strict` cookie there, so that `iss` and `sid` alone say which session it is. They prove nothing:
 * whoever knows a `sid` can end that session. So it is off by default, and no token is revoked at the provider.
 *
 * It ends sessions that are known to exist, each by its own key. For a `sid` that no session has, nothing is written,
 * because whoever invents them could fill the store.
 */
import { BffError } from '../http/errors.ts';
import { providerSessionName } from '../session/session-names.ts';
import { headersOf, sendPage, single, type BffContext, type EndpointDeps } from './endpoint.ts';

/** Characters. Providers' are of 20 to 60. */
const maximumSid = 1024;
/** Frames that wait for the store: strangers must not queue up before it when it is slow. */
const maximumWaiting = 100;

export function createFrontchannelLogout({ config, pages, sessions }: EndpointDeps) {
  const ancestor = new URL(config.issuer).origin;
  let waiting = 0;

  /** Answers the same whether or not there is such a session. @throws {BffError} `store_unavailable` */
  return async function frontchannelLogout(c: BffContext): Promise<Response> {
    const parameters = new URL(c.req.url).searchParams;
    const sid = single(parameters, 'sid');
    if (single(parameters, 'iss') !== config.issuer || typeof sid !== 'string' || sid === '') {
      throw new BffError('request_invalid', "A sign-out by the provider has its iss and the session's sid, once each.");
    }
    if (sid.length > maximumSid) throw new BffError('request_invalid', `A sid has ${maximumSid} characters at most.`);
    await endSessions(providerSessionName(config.issuer, sid));
    return sendPage(c, pages(headersOf(c)).framedSignOut(ancestor));
  };

  async function endSessions(name: string): Promise<void> {
    if (waiting >= maximumWaiting) {
      const detail = `Sign-outs by frames wait for the store, ${maximumWaiting} at a time. Repeat it in a moment.`;
      throw new BffError('too_many_requests', detail, { headers: { 'retry-after': '1' } });
    }
    waiting += 1;
    try {
      await sessions.registry.endKnown(name, 'frontchannel');
    } finally {
      waiting -= 1;
    }
  }
}

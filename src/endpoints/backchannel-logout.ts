/**
 * `POST /bff/backchannel-logout`: the provider reports that a session, or every session of a person, has ended there
 * (OpenID Connect Back-Channel Logout 1.0 incorporating errata set 1). It comes from the provider's server, without
 * cookies or an origin; the logout token's signature is its proof. An answer never tells whether there was a session.
 */
import { BffError } from '../http/errors.ts';
import { InvalidLogoutToken, type LogoutToken } from '../oidc/logout-token.ts';
import { storeUnavailable } from '../session/shared-sessions.ts';
import { isForm, readForm, type BffContext, type EndpointDeps } from './endpoint.ts';

/** The clocks of instances differ: where one has just refused a token as too old, another may still take it. */
const clockMarginSeconds = 300;

const maximumUnrecorded = 1000;

export function createBackchannelLogout({ events, provider, sessions, store }: EndpointDeps) {
  /** The names of tokens whose end of sessions could not be recorded, so that the provider may send them again. */
  const unrecorded = new Set<string>();

  /** 200 says that the sessions have ended, for whoever asks next on any instance (2.8). */
  return async function backchannelLogout(c: BffContext): Promise<Response> {
    try {
      await record(await provider.verifyLogoutToken(await readLogoutToken(c)));
      return c.body(null, 200, { 'content-length': '0' });
    } catch (error) {
      if (!(error instanceof InvalidLogoutToken)) throw error;
      events.emit({ type: 'logout.token_refused', reason: error.reason, detail: error.message });
      return c.json({ error: 'invalid_request', error_description: error.message }, 400);
    }
  };

  /**
   * Ends the sessions, once for each token.
   * @throws {BffError} `store_unavailable`: with 503 the provider knows to send the token again (2.5), as it would not
   *   with 400
   */
  async function record({ name, sid, sub, issuedAt, validForSeconds }: LogoutToken): Promise<void> {
    if (!unrecorded.delete(name)) await use(name, validForSeconds);
    try {
      await sessions.revoke({ sid, sub, issuedBefore: issuedAt, reason: 'backchannel' });
    } catch (error) {
      remember(name);
      throw error;
    }
  }

  async function use(name: string, validForSeconds: number): Promise<void> {
    let isFirst: boolean;
    try {
      isFirst = await store.useOnce(`logout-token:${name}`, validForSeconds + clockMarginSeconds);
    } catch (cause) {
      events.emit({ type: 'store.failed', cause });
      throw storeUnavailable(cause);
    }
    if (!isFirst) throw new InvalidLogoutToken('repeated', 'The logout token was received before.');
  }

  function remember(name: string): void {
    unrecorded.add(name);
    const [oldest] = unrecorded;
    if (unrecorded.size > maximumUnrecorded && oldest !== undefined) unrecorded.delete(oldest);
  }
}

/** The token is in the form alone, and other fields there mean nothing (2.5). */
async function readLogoutToken(c: BffContext): Promise<string> {
  if (!isForm(c)) {
    throw new InvalidLogoutToken('request', 'A logout request is a form: application/x-www-form-urlencoded.');
  }
  const tokens = (await readForm(c).catch(asRefusal)).getAll('logout_token');
  const [token] = tokens;
  if (token === undefined || tokens.length > 1) {
    throw new InvalidLogoutToken('request', 'A logout request has one logout_token.');
  }
  return token;
}

/** The specification knows no other status than 400 for what is wrong with a request (2.8). */
function asRefusal(error: unknown): never {
  if (error instanceof BffError && error.status < 500) throw new InvalidLogoutToken('request', error.message);
  throw error;
}

/** The beginning of a login, for `/bff/login` and for a callback whose login expired at the provider. */
import type { LoginIntent, LoginTransaction } from '../session/transactions.ts';
import { appendCookies, headersOf, type BffContext, type EndpointDeps } from './endpoint.ts';

export function createLoginStart({ config, provider, sessions, transactions }: EndpointDeps) {
  /**
   * Begins a login transaction, and sets its cookie.
   * @param earlier the transaction that this one takes the place of, and what it knew of the previous session
   * @returns the provider's address for the browser (OpenID Connect Core 3.1.2.1)
   */
  return async function startLogin(c: BffContext, intent: LoginIntent, earlier?: LoginTransaction): Promise<string> {
    const headers = headersOf(c);
    const parameters = { ...config.login.params, ...intent.parameters };
    const opened = await sessions.open(headers.cookie);
    const { transaction, cookies } = await transactions.begin(
      {
        ...intent,
        maxAge: parameters['max_age'] === undefined ? undefined : Number(parameters['max_age']),
        silent: parameters['prompt'] === 'none',
        previousSession:
          opened.state === 'absent' || opened.entry === undefined
            ? earlier?.previousSession
            : { id: opened.entry.session.id, expiresAt: sessions.endsAtLatest(opened.entry) },
        showedSession:
          opened.state !== 'absent' || headers['sec-fetch-site'] !== 'cross-site' || earlier?.showedSession === true,
      },
      headers.cookie,
      earlier?.state,
    );
    const url = await provider.authorizationUrl(parameters, transaction);
    appendCookies(c, cookies);
    return url.href;
  };
}

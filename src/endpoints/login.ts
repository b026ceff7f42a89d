/** `GET /bff/login`: begins a login transaction and sends the browser to the provider (OpenID Connect Core 3.1.2.1). */
import { BffError } from '../http/errors.ts';
import { parseReturnTo } from '../http/return-to.ts';
import { isNavigation } from '../http/navigation.ts';
import { appendCookies, headersOf, loginPath, single, type BffContext, type EndpointDeps } from './endpoint.ts';

/** Parameters that a SPA may always pass on: none of them widens what is granted. */
const forwardedParameters = ['prompt', 'login_hint', 'max_age', 'acr_values', 'ui_locales'];

export function createLogin({ config, events, provider, sessions, transactions }: EndpointDeps) {
  const allowed = [...forwardedParameters, ...config.login.allowParams];

  return async function login(c: BffContext): Promise<Response> {
    const headers = headersOf(c);
    const parameters = new URL(c.req.url).searchParams;
    if (!isNavigation(headers)) throw navigationRequired(parameters);
    const returnTo = readReturnTo(parameters);
    const asked = { ...config.login.params, ...readPassedOn(parameters) };
    const opened = await sessions.open(headers.cookie);
    const { transaction, cookies } = await transactions.begin(
      {
        returnTo,
        maxAge: asked['max_age'] === undefined ? undefined : Number(asked['max_age']),
        silent: asked['prompt'] === 'none',
        replaces:
          opened.state === 'absent'
            ? undefined
            : { id: opened.entry.session.id, expiresAt: sessions.endsAt(opened.entry) },
        showedSession: opened.state !== 'absent' || headers['sec-fetch-site'] !== 'cross-site',
      },
      headers.cookie,
    );
    const url = await provider.loginUrl(asked, transaction);
    appendCookies(c, cookies);
    events.emit({ type: 'login.started' });
    return c.redirect(url.href, 302);
  };

  /** A fetch can't follow to the provider, and one transaction for each would pile up: no cookie is set. */
  function navigationRequired(parameters: URLSearchParams): BffError {
    const query = parameters.size === 0 ? '' : `?${parameters.toString()}`;
    return new BffError('navigation_required', 'Sign-in is a navigation of the browser, not a call of a script.', {
      extensions: { loginUrl: `${loginPath(config)}${query}` },
    });
  }

  function readReturnTo(parameters: URLSearchParams): string {
    const given = single(parameters, 'returnTo');
    const returnTo = given === undefined ? '/' : given === null ? undefined : parseReturnTo(given, config);
    if (returnTo !== undefined) return returnTo;
    throw new BffError('return_to_invalid', 'returnTo must be one path on this origin, such as "/orders?page=2".');
  }

  function readPassedOn(parameters: URLSearchParams): Record<string, string> {
    const extra: Record<string, string> = {};
    for (const name of allowed) {
      const value = single(parameters, name);
      if (value === null) throw new BffError('request_invalid', `The parameter "${name}" stands more than once.`);
      if (value !== undefined && value !== '') extra[name] = value;
    }
    if (extra['max_age'] !== undefined && !/^\d{1,9}$/.test(extra['max_age'])) {
      throw new BffError('request_invalid', 'max_age must be a number of seconds.');
    }
    return extra;
  }
}

/**
 * `/bff/callback`: completes the code flow (OpenID Connect Core 3.1.2.5). Whatever the outcome, the login transaction is
 * over with it. The browser may withhold Strict cookies here, for the request is cross-site: what must be known of the
 * earlier session came in the transaction, and left-over cookies are deleted cookiesUnknown.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { BffError } from '../http/errors.ts';
import { isAppPath } from '../http/return-to.ts';
import { isPrefetchOrSubresource } from '../http/navigation.ts';
import type { Grant } from '../oidc/provider.ts';
import { repostPage, sameSiteRedirectPage, type Page } from '../http/pages.ts';
import type { SessionEntry } from '../session/sessions.ts';
import type { LoginTransaction } from '../session/transactions.ts';
import { appendCookies, headersOf, sendPage, single, type BffContext, type EndpointDeps } from './endpoint.ts';

const responseParameters = [
  'code',
  'state',
  'iss',
  'error',
  'error_description',
  'error_uri',
  'session_state',
  'response',
];
const maximumFormBytes = 64 * 1024;

/** Marks the second, same-site POST of a `form_post` answer. Carries no trust: without the cookie it leads nowhere. */
const repostedField = 'sallyport_reposted';

/** Marks the same callback, asked for once more by our own page: it is not to be shown again, whatever the browser says. */
const continuedParameter = 'sallyport_continued';

/** What a provider answers to `prompt=none` when it would have to ask (OpenID Connect Core 3.1.2.6). */
const needsInteraction = new Set([
  'login_required',
  'interaction_required',
  'consent_required',
  'account_selection_required',
]);

export function createCallback({ config, events, provider, sessions, transactions }: EndpointDeps) {
  const usesForm = config.client.responseMode === 'form_post';

  async function get(c: BffContext): Promise<Response> {
    if (usesForm) throw methodNotAllowed('POST');
    return complete(c, new URL(c.req.url).searchParams);
  }

  async function post(c: BffContext): Promise<Response> {
    if (!usesForm) throw methodNotAllowed('GET');
    const parameters = await readForm(c);
    if (parameters.get(repostedField) === '1') return complete(c, parameters);
    return sendPage(c, repostPage(`${config.basePath}/callback`, [...parameters, [repostedField, '1']]));
  }

  async function complete(c: BffContext, parameters: URLSearchParams): Promise<Response> {
    const headers = headersOf(c);
    // A prefetch or a frame must not burn the transaction.
    if (isPrefetchOrSubresource(headers)) {
      throw new BffError('request_invalid', 'The end of a sign-in is a navigation of the browser.');
    }
    const state = single(parameters, 'state');
    if (typeof state !== 'string') throw invalid('The answer carries no state, or more than one.');
    const { transaction, cookies } = await transactions.find(state, headers.cookie);
    if (transaction !== undefined && mayHideSession(headers, transaction) && !parameters.has(continuedParameter)) {
      return sendPage(c, continuePage(parameters));
    }
    appendCookies(c, [...cookies, ...transactions.evictSurplus(headers.cookie)]);
    if (transaction === undefined || !(await transactions.markUsed(state))) {
      throw invalid('It was completed already, took too long, or was begun in another browser.');
    }
    return finish(c, parameters, transaction);
  }

  function continuePage(parameters: URLSearchParams): Page {
    const query = new URLSearchParams([...parameters, [continuedParameter, '1']]);
    return sameSiteRedirectPage('Signing in', `${config.basePath}/callback?${query.toString()}`);
  }

  async function finish(c: BffContext, parameters: URLSearchParams, transaction: LoginTransaction): Promise<Response> {
    if (responseParameters.some((name) => single(parameters, name) === null)) {
      throw invalid('The answer holds a parameter twice.');
    }
    if (!(await provider.hasExpectedIssuer(parameters))) throw invalid('The answer comes from another provider.');
    const error = parameters.get('error');
    if (error !== null) return refused(c, error, transaction);
    if (!parameters.get('code')) throw invalid('The answer carries no code.');
    const grant = await redeem(parameters, transaction);
    const { entry, cookies } = await beginSession(grant);
    appendCookies(c, cookies);
    await endEarlierSession(c, transaction);
    events.emit({ type: 'login.succeeded', session: entry.label, subject: grant.subject });
    return redirectToApp(c, transaction.returnTo);
  }

  /** A session that no cookie can hold is none: its tokens must not stay good, and the earlier session stays. */
  async function beginSession({ tokens, userInfo }: Grant): Promise<{ entry: SessionEntry; cookies: string[] }> {
    try {
      const entry = await sessions.begin(tokens, userInfo);
      return { entry, cookies: sessions.loginCookies(entry) };
    } catch (error) {
      const { refreshToken } = tokens;
      const revocation = refreshToken === undefined ? undefined : provider.revoke(refreshToken, 'refresh_token');
      await revocation?.catch((cause: unknown) =>
        events.emit({ type: 'logout.revocation_failed', session: 'none', cause }),
      );
      throw error;
    }
  }

  async function redeem(parameters: URLSearchParams, transaction: LoginTransaction) {
    try {
      return await provider.redeemCode(parameters, transaction);
    } catch (error) {
      const { code, cause } = error as BffError;
      events.emit({ type: 'login.failed', reason: code, cause });
      throw error;
    }
  }

  /** The earlier session's refresh token isn't revoked: some providers would end the single sign-on session with it. */
  async function endEarlierSession(c: BffContext, { replaces }: LoginTransaction): Promise<void> {
    const opened = await sessions.open(headersOf(c).cookie);
    const shown = opened.state === 'absent' ? undefined : opened.entry;
    if (shown !== undefined) await sessions.replace({ id: shown.session.id, expiresAt: sessions.endsAt(shown) });
    if (replaces !== undefined && replaces.id !== shown?.session.id) await sessions.replace(replaces);
  }

  function redirectToApp(c: BffContext, asked: string): Response {
    // Looked at once more: a deployment may have made an API route of it since the sign-in began.
    const returnTo = isAppPath(asked, config) ? asked : '/';
    // The navigation that follows a redirect is still cross-site and comes without the Strict cookie. The SPA's
    // document doesn't need it; a page that requires a login does, and is reached by a navigation from here.
    return config.spa?.requireLogin === true
      ? sendPage(c, sameSiteRedirectPage('Signed in', returnTo))
      : c.redirect(returnTo, 302);
  }

  function refused(c: BffContext, error: string, { silent, returnTo }: LoginTransaction): Response {
    if (silent && needsInteraction.has(error)) {
      const url = new URL(returnTo, config.origin);
      url.searchParams.set('login', 'required');
      return redirectToApp(c, `${url.pathname}${url.search}${url.hash}`);
    }
    // What came in the URL is shown only if it looks like an error code (RFC 6749 4.1.2.1), never its description.
    const code = /^[a-z_]{1,40}$/.test(error) ? error : 'unknown error';
    events.emit({ type: 'login.failed', reason: code });
    if (error === 'server_error' || error === 'temporarily_unavailable') {
      throw new BffError('provider_unavailable', `The identity provider could not sign you in now (${code}).`, {
        headers: { 'retry-after': '2' },
      });
    }
    throw new BffError('authorization_failed', `The identity provider did not sign you in (${code}).`);
  }

  return { get, post };
}

/**
 * Whether the browser may have a session that neither this request nor the one that began the login showed. It is to
 * end with this login, and a navigation from our own page brings its cookie.
 */
function mayHideSession(headers: IncomingHttpHeaders, transaction: LoginTransaction): boolean {
  return !transaction.showedSession && headers['sec-fetch-site'] === 'cross-site';
}

async function readForm(c: BffContext): Promise<URLSearchParams> {
  if (!c.req.header('content-type')?.startsWith('application/x-www-form-urlencoded')) {
    throw new BffError('request_invalid', 'The answer must be a form.');
  }
  if (Number(c.req.header('content-length') ?? Infinity) > maximumFormBytes) {
    throw new BffError('body_too_large', `The answer must have a length, of at most ${maximumFormBytes} bytes.`);
  }
  return new URLSearchParams(await c.req.text());
}

function invalid(detail: string): BffError {
  return new BffError('login_transaction_invalid', `${detail} Nothing was changed; sign in again.`);
}

function methodNotAllowed(allow: string): BffError {
  return new BffError('method_not_allowed', `The provider's answer is expected by ${allow}.`, { headers: { allow } });
}

/**
 * `/bff/callback`: completes the code flow (OpenID Connect Core 3.1.2.5). The login transaction ends here, whatever the
 * outcome. The request is cross-site, so that the browser may withhold Strict cookies: the transaction carries what must
 * be known of the previous session, and left-over cookies are deleted without having been seen.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { amendError, asBffError, BffError } from '../http/errors.ts';
import { loginUrl } from '../http/login-url.ts';
import { isAppPath, parseReturnTo } from '../http/return-to.ts';
import { isPrefetchOrSubresource } from '../http/navigation.ts';
import type { Grant } from '../oidc/provider.ts';
import { authorizationRefusal } from '../oidc/refusal.ts';
import { comesByForm } from '../oidc/response-mode.ts';
import { revokeRefreshToken } from '../oidc/revocation.ts';
import type { SessionEntry } from '../session/sessions.ts';
import type { FoundLogin, LoginIntent, LoginTransaction } from '../session/transactions.ts';
import { shortfallOf, type Shortfall } from './asked-sign-in.ts';
import {
  authorizationError,
  createResponseChecks,
  hasExpiredAtProvider,
  invalidLogin,
  needsInteraction,
} from './authorization-response.ts';
import {
  appendCookies,
  continuedParameter,
  headersOf,
  isForm,
  readForm,
  sendPage,
  severOpener,
  single,
  traitsOf,
  type BffContext,
  type EndpointDeps,
} from './endpoint.ts';
import { createLoginStart } from './start-login.ts';

/** Marks the second, same-site POST of a `form_post` response. It carries no trust: the cookie decides. */
const repostedField = 'sallyport_reposted';

/** What an operator can do where the provider grants no refresh token (OpenID Connect Core 11). */
const advice =
  'The provider granted no refresh token, so the session ends when its access token does. Allow refresh tokens for this ' +
  'client at the provider, and request offline_access (SALLYPORT_SCOPE) where it wants that. Some providers grant it ' +
  'with SALLYPORT_LOGIN_PARAMS=prompt=consent only.';

export function createCallback(deps: EndpointDeps) {
  const { config, pages, events, provider, sessions, transactions, logoutReturns, resolveClientAddress } = deps;
  const startLogin = createLoginStart(deps);
  const { readParameters, requireGenuine } = createResponseChecks(deps);
  const usesForm = comesByForm(config);

  async function get(c: BffContext): Promise<Response> {
    if (usesForm) throw methodNotAllowed('POST');
    return completeLogin(c, new URL(c.req.url).searchParams);
  }

  async function post(c: BffContext): Promise<Response> {
    if (!usesForm) throw methodNotAllowed('GET');
    if (!isForm(c)) throw new BffError('request_invalid', 'The answer must be a form.');
    const parameters = await readForm(c);
    if (parameters.get(repostedField) === '1') return completeLogin(c, parameters);
    return sendPage(
      c,
      pages(headersOf(c)).repost(`${config.basePath}/callback`, [...parameters, [repostedField, '1']]),
    );
  }

  async function completeLogin(c: BffContext, received: URLSearchParams): Promise<Response> {
    const headers = headersOf(c);
    severOpener(c);
    // A prefetch or a frame must not use up the transaction.
    if (isPrefetchOrSubresource(headers)) {
      throw new BffError('request_invalid', 'The end of a sign-in is a navigation of the browser.');
    }
    const parameters = await readParameters(received);
    const state = single(parameters, 'state');
    if (typeof state !== 'string') throw invalidLogin('The answer carries no state, or more than one.');
    const found = transactions.find(state, headers.cookie);
    const { transaction, intent } = found;
    try {
      if (intent !== undefined && beginsAnew(parameters, intent)) return await beginAnew(c, parameters, state, found);
      if (transaction !== undefined && mayHideSession(headers, transaction) && !received.has(continuedParameter)) {
        return continueFromOwnPage(c, received);
      }
      return await redeemAndStartSession(c, parameters, await useTransaction(c, state, found));
    } catch (error) {
      throw intent === undefined ? error : withWayBack(asBffError(error), intent, config);
    }
  }

  /** Marks a login transaction as used and deletes its cookie. */
  async function useTransaction(c: BffContext, state: string, found: FoundLogin): Promise<LoginTransaction> {
    const { transaction, cookies } = found;
    appendCookies(c, [...cookies, ...transactions.evictSurplus(headersOf(c).cookie)]);
    if (transaction !== undefined && (await transactions.markStateUsed(state))) return transaction;
    throw invalidLogin(
      `It was completed already, took too long, or was begun in another browser or under another address than ${config.origin}.`,
    );
  }

  /**
   * Begins the login anew, because it expired at the provider. That may come when the transaction is long over: what the
   * app asked for is in the state. A second time it is an error, so that no browser goes in circles.
   */
  async function beginAnew(
    c: BffContext,
    parameters: URLSearchParams,
    state: string,
    { transaction, intent, cookies }: FoundLogin,
  ): Promise<Response> {
    appendCookies(c, cookies);
    if (intent === undefined || !(await transactions.markStateUsed(state)))
      throw invalidLogin('It was begun anew already.');
    await requireGenuine(parameters);
    const url = await startLogin(c, { ...intent, restarted: true }, transaction);
    events.emit({ type: 'login.restarted', cause: authorizationRefusal(parameters) });
    // After a form post, a redirect to the provider would be subject to the `form-action` of this origin's page.
    return usesForm ? sendPage(c, pages(headersOf(c)).sameSiteRedirect('signingIn', url)) : c.redirect(url, 302);
  }

  /** Has the browser repeat the callback from a page of this origin, so that it sends the previous session's cookie. */
  function continueFromOwnPage(c: BffContext, parameters: URLSearchParams): Response {
    const query = new URLSearchParams([...parameters, [continuedParameter, '1']]);
    return sendPage(
      c,
      pages(headersOf(c)).sameSiteRedirect('signingIn', `${config.basePath}/callback?${query.toString()}`),
    );
  }

  async function redeemAndStartSession(
    c: BffContext,
    parameters: URLSearchParams,
    transaction: LoginTransaction,
  ): Promise<Response> {
    await requireGenuine(parameters);
    if (parameters.has('error')) return answerAuthorizationError(c, parameters, transaction);
    const grant = await redeemCode(parameters, transaction);
    // Its refresh token is not revoked: some providers end the whole single sign-on session then, and with it the session
    // that the browser has.
    const shortfall = shortfallOf(grant.tokens.idToken, transaction, config.provider.clockToleranceSeconds);
    if (shortfall !== undefined) return answerShortfall(c, shortfall, transaction);
    const { entry, cookies } = await beginSession(grant);
    appendCookies(c, [...cookies, ...logoutReturns.forget(headersOf(c).cookie)]);
    const registered = sessions.registry.add(entry, traitsOf(c, resolveClientAddress));
    await Promise.all([endPreviousSession(c, transaction), registered]);
    events.emit({ type: 'login.succeeded', session: entry.sessionHash, subject: grant.subject });
    if (grant.tokens.refreshToken === undefined) {
      const endsInSeconds = sessions.endsAt(entry) - nowSeconds();
      events.emit({ type: 'login.refresh_token_missing', session: entry.sessionHash, endsInSeconds, advice });
    }
    return leadToApp(c, transaction.returnTo, transaction.popup);
  }

  async function redeemCode(parameters: URLSearchParams, transaction: LoginTransaction): Promise<Grant> {
    try {
      return await provider.redeemCode(parameters, transaction);
    } catch (error) {
      const { code, cause } = asBffError(error);
      events.emit({ type: 'login.failed', reason: code, cause });
      throw error;
    }
  }

  /** If the session does not fit into the cookies, revokes its refresh token and keeps the previous session. */
  async function beginSession({ tokens, userInfo }: Grant): Promise<{ entry: SessionEntry; cookies: string[] }> {
    try {
      const entry = await sessions.begin(tokens, userInfo);
      return { entry, cookies: sessions.loginCookies(entry) };
    } catch (error) {
      await revokeRefreshToken(tokens.refreshToken, 'none', { provider, events });
      throw error;
    }
  }

  /** The session's refresh token is not revoked: some providers end the whole single sign-on session when one is. */
  async function endPreviousSession(c: BffContext, { previousSession }: LoginTransaction): Promise<void> {
    const opened = await sessions.open(headersOf(c).cookie);
    const shown = opened.state === 'absent' ? undefined : opened.entry;
    if (shown !== undefined) await sessions.replace({ id: shown.session.id, expiresAt: sessions.endsAtLatest(shown) });
    if (previousSession !== undefined && previousSession.id !== shown?.session.id) {
      await sessions.replace(previousSession);
    }
  }

  function leadToApp(c: BffContext, requested: string, popup: string | undefined): Response {
    // Checked again, because a deployment may have made the path an API route since the sign-in began.
    const returnTo = isAppPath(requested, config) ? requested : config.home;
    if (popup !== undefined) return sendPage(c, pages(headersOf(c)).popup(returnTo));
    // The navigation that follows a redirect is still cross-site and comes without the Strict cookie. The SPA's
    // document doesn't need it; a page that requires a login does, and is reached by a navigation from here.
    return config.spa?.requireLogin === true
      ? sendPage(c, pages(headersOf(c)).sameSiteRedirect('signedIn', returnTo))
      : c.redirect(returnTo, 302);
  }

  /** A sign-in that is weaker or older than the login asked for. The session that the browser has stays. */
  function answerShortfall(c: BffContext, { reason, error }: Shortfall, transaction: LoginTransaction): Response {
    events.emit({ type: 'login.failed', reason, cause: error.cause });
    if (transaction.silent) return answerSilently(c, transaction);
    throw error;
  }

  /** An error response of the provider (RFC 6749 4.1.2.1). For a silent login it may be the expected outcome. */
  function answerAuthorizationError(
    c: BffContext,
    parameters: URLSearchParams,
    transaction: LoginTransaction,
  ): Response {
    if (transaction.silent && needsInteraction(parameters)) return answerSilently(c, transaction);
    const { reason, error } = authorizationError(parameters);
    events.emit({ type: 'login.failed', reason, cause: error.cause });
    throw error;
  }

  /** Tells the app that a silent login would have to ask the person. */
  function answerSilently(c: BffContext, { returnTo, popup }: LoginTransaction): Response {
    if (popup !== undefined) throw new BffError('login_required', 'The identity provider has to ask you first.');
    const url = new URL(returnTo, config.origin);
    url.searchParams.set('login', 'required');
    return leadToApp(c, `${url.pathname}${url.search}${url.hash}`, popup);
  }

  return { get, post };
}

function beginsAnew(parameters: URLSearchParams, { parameters: asked, restarted }: LoginIntent): boolean {
  // Not without what the app had asked for, such as a stronger sign-in.
  return asked !== undefined && !restarted && hasExpiredAtProvider(parameters);
}

/** The way to sign in again, after an error: to the page that the person wanted, and as the app asked. */
function loginUrlFor({ returnTo, parameters = {}, popup }: LoginIntent, config: Config): string {
  const query = new URLSearchParams(parameters);
  // A person who clicks wants to be asked.
  if (query.get('prompt') === 'none') query.delete('prompt');
  // A deployment may have made the path an API route since the sign-in began.
  if (returnTo !== config.home && parseReturnTo(returnTo, config) !== undefined) query.set('returnTo', returnTo);
  if (popup !== undefined) query.set('display', 'popup');
  if (popup) query.set('popup', popup);
  return loginUrl(config, query.toString());
}

function withWayBack(error: BffError, intent: LoginIntent, config: Config): BffError {
  // That way would lead to the same error once more.
  const leadsBackHere = error.pageWording === 'sign_in_too_weak';
  const extensions = leadsBackHere ? {} : { loginUrl: loginUrlFor(intent, config) };
  return amendError(error, { extensions, inPopup: intent.popup !== undefined, popup: intent.popup });
}

/**
 * Whether the browser may have a session that neither this request nor the one that began the login showed. This login
 * must end that session, and a navigation from a page of this origin brings its cookie.
 */
function mayHideSession(headers: IncomingHttpHeaders, transaction: LoginTransaction): boolean {
  return !transaction.showedSession && headers['sec-fetch-site'] === 'cross-site';
}

function methodNotAllowed(allow: string): BffError {
  return new BffError('method_not_allowed', `The provider's answer is expected by ${allow}.`, { headers: { allow } });
}

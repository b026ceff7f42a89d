/** `GET /bff/login`: begins a login transaction and sends the browser to the provider (OpenID Connect Core 3.1.2.1). */
import type { IncomingHttpHeaders } from 'node:http';
import { amendError, asBffError, BffError } from '../http/errors.ts';
import { loginUrl } from '../http/login-url.ts';
import { comesFromOtherSite, isNavigation } from '../http/navigation.ts';
import {
  continuedParameter,
  headersOf,
  readReturnTo,
  sendPage,
  severOpener,
  single,
  type BffContext,
  type EndpointDeps,
} from './endpoint.ts';
import { readAuthorizationDetails } from './authorization-details.ts';
import { createLoginStart } from './start-login.ts';

/** Parameters that a SPA may always send to the provider: none of them widens the grant. */
const forwardedParameters = ['prompt', 'login_hint', 'max_age', 'acr_values', 'ui_locales'];

/** What the SPA wants to be allowed in detail (RFC 9396): by its types. */
const detailsParameter = 'authorization_details';

export function createLogin(deps: EndpointDeps) {
  const { config, pages, events, sessions } = deps;
  const startLogin = createLoginStart(deps);
  const allowed = [...forwardedParameters, detailsParameter, ...config.login.allowParams];

  return async function login(c: BffContext): Promise<Response> {
    const parameters = new URL(c.req.url).searchParams;
    severOpener(c);
    try {
      return await begin(c, parameters);
    } catch (error) {
      const popup = popupOf(parameters);
      throw popup === undefined ? error : amendError(asBffError(error), { inPopup: true, popup });
    }
  };

  async function begin(c: BffContext, parameters: URLSearchParams): Promise<Response> {
    const headers = headersOf(c);
    if (!isNavigation(headers)) throw navigationRequired(parameters);
    const returnTo = readReturnTo(parameters, config) ?? config.home;
    if (config.profile !== undefined && comesFromOtherSite(headers)) throw consentRequired(returnTo);
    for (const name of ['display', 'popup']) if (single(parameters, name) === null) throw repeated(name);
    const intent = {
      returnTo,
      parameters: readForwardedParameters(parameters),
      restarted: false,
      popup: popupOf(parameters),
    };
    if (!parameters.has(continuedParameter) && (await mayHideSession(headers))) {
      return continueFromOwnPage(c, parameters);
    }
    const url = await startLogin(c, intent);
    events.emit({ type: 'login.started' });
    return c.redirect(url, 302);
  }

  /**
   * A profile lets nobody but the person begin a login (FAPI 2.0 Security Profile 5.3.3.1): a button of this origin does,
   * without the parameters that another site chose.
   */
  function consentRequired(returnTo: string): BffError {
    const query = returnTo === config.home ? '' : new URLSearchParams({ returnTo }).toString();
    return new BffError('request_forbidden', 'Another site led here. To sign in, go on by the button of this page.', {
      extensions: { loginUrl: loginUrl(config, query) },
    });
  }

  /** A link on another site brings no Strict cookie, and the login must end the session that this browser may have. */
  async function mayHideSession(headers: IncomingHttpHeaders): Promise<boolean> {
    return headers['sec-fetch-site'] === 'cross-site' && (await sessions.open(headers.cookie)).state === 'absent';
  }

  /** Has the browser repeat the request from a page of this origin, so that it sends all its cookies. */
  function continueFromOwnPage(c: BffContext, parameters: URLSearchParams): Response {
    const query = new URLSearchParams([...parameters, [continuedParameter, '1']]);
    return sendPage(c, pages(headersOf(c)).sameSiteRedirect('signingIn', loginUrl(config, query.toString())));
  }

  /** A fetch can't follow to the provider, and its transactions would pile up: no cookie is set. */
  function navigationRequired(parameters: URLSearchParams): BffError {
    return new BffError('navigation_required', 'Sign-in is a navigation of the browser, not a call of a script.', {
      extensions: { loginUrl: loginUrl(config, parameters.toString()) },
    });
  }

  function readForwardedParameters(parameters: URLSearchParams): Record<string, string> {
    const forwarded: Record<string, string> = {};
    for (const name of allowed) {
      const value = single(parameters, name);
      if (value === null) throw repeated(name);
      if (value !== undefined && value !== '') forwarded[name] = value;
    }
    if (forwarded['max_age'] !== undefined && !/^\d{1,9}$/.test(forwarded['max_age'])) {
      throw new BffError('request_invalid', 'max_age must be a number of seconds.');
    }
    const details = forwarded[detailsParameter];
    if (details !== undefined) {
      forwarded[detailsParameter] = readAuthorizationDetails(details, config.login.allowAuthorizationDetails);
    }
    return forwarded;
  }
}

/**
 * OpenID Connect has a `display` of the same meaning (Core 3.1.2.1), which is the provider's. This one is Sallyport's, and
 * the provider gets it only where `login.allowParams` has it.
 * @returns the name of the page that opened the popup, '' for one without; undefined where it is no popup
 */
function popupOf(parameters: URLSearchParams): string | undefined {
  if (single(parameters, 'display') !== 'popup') return undefined;
  const name = single(parameters, 'popup') ?? '';
  return /^[\w.-]{1,64}$/.test(name) ? name : '';
}

function repeated(name: string): BffError {
  return new BffError('request_invalid', `The parameter "${name}" stands more than once.`);
}

/** Signing in: by a navigation, or in a popup beside the page, so that what was typed stays. */
import type { SessionView } from '../session-view.ts';
import { abortable } from './abortable.ts';
import { now, secondsSince } from './clock.ts';
import { SallyportError } from './endpoint.ts';
import { hasChannel, type Tabs } from './tabs.ts';

/** What a sign-in may be given. */
export interface LoginOptions {
  /** A path of the app to come back to, with query and fragment; default: the page's own. */
  readonly returnTo?: string;
  /** `prompt` (OpenID Connect Core 3.1.2.1): `login`, `select_account`, `none` … */
  readonly prompt?: string;
  /** `acr_values`, separated by spaces. */
  readonly acrValues?: string;
  /** `max_age`, in seconds. */
  readonly maxAge?: number;
  /** `login_hint`. */
  readonly loginHint?: string;
  /** In a popup; a navigation where the browser opens none. */
  readonly popup?: boolean;
  /** A login address that is ready, such as `loginUrl` of a problem. */
  readonly url?: string;
  /** Ends the waiting for a popup. */
  readonly signal?: AbortSignal;
}

const parameters = {
  returnTo: 'returnTo',
  prompt: 'prompt',
  acrValues: 'acr_values',
  maxAge: 'max_age',
  loginHint: 'login_hint',
} as const;

/** The server takes no longer `returnTo`. */
const maximumReturnToLength = 2048;
/** Within this time, calls that fail together ask for the same popup. */
const togetherSeconds = 1;

export function createLogin(basePath: string, tabs: Tabs, look: () => Promise<SessionView>) {
  let openedAt = now();
  let waiting: Promise<SessionView> | undefined;

  /** Resolves when signed in; undefined where the browser opens no popup. */
  function inPopup(address: string): Promise<SessionView> | undefined {
    // Nothing tells that the person has closed a popup: the provider's or the app's COOP cuts the handle. They have
    // if this page has the focus again, and get another one.
    if (waiting !== undefined && (secondsSince(openedAt) < togetherSeconds || !document.hasFocus())) return waiting;
    if (!hasChannel() || window.open(address, '_blank', 'popup,width=500,height=700') === null) return undefined;
    openedAt = now();
    waiting ??= new Promise<SessionView>((resolve, reject) => {
      const stop = tabs.listen((message) => {
        if (message.type === 'signed-in') resolve(look().then(signedIn));
        else if (message.type === 'sign-in-failed') reject(new SallyportError(message.code));
        else return;
        stop();
        waiting = undefined;
      });
    });
    return waiting;
  }

  return function login({ url, popup, signal, ...given }: LoginOptions = {}): Promise<SessionView> {
    const address = new URL(url ?? `${basePath}/login`, location.href);
    // An address from elsewhere, `javascript:` included, must not be opened in the app's name.
    if (address.origin !== location.origin) return Promise.reject(new TypeError('login: url is of another origin'));
    const query = address.searchParams;
    for (const [name, parameter] of Object.entries(parameters)) {
      const value = given[name as keyof typeof parameters];
      if (value !== undefined) query.set(parameter, String(value));
    }
    if (!query.has('returnTo')) query.set('returnTo', currentPath());
    if (popup) {
      if (signal?.aborted) return Promise.reject(signal.reason as Error);
      const inTheApp = address.href;
      query.set('display', 'popup');
      const signingIn = inPopup(address.href);
      if (signingIn !== undefined) return abortable(signingIn, signal);
      return navigate(inTheApp);
    }
    return navigate(address.href);
  };
}

function signedIn(session: SessionView): SessionView {
  if (!session.authenticated) throw new SallyportError('login_required');
  return session;
}

function currentPath(): string {
  const { pathname, search, hash } = location;
  const path = pathname + search + hash;
  return path.length > maximumReturnToLength ? pathname : path;
}

/** The page is left: nothing comes after it. */
function navigate(address: string): Promise<never> {
  location.assign(address);
  return new Promise<never>(() => undefined);
}

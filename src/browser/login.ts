/** Signing in: by a navigation, or in a popup beside the page, so that what was typed stays. */
import type { SessionView } from '../session-view.ts';
import { failure } from './endpoint.ts';
import { listen } from './tabs.ts';
import { abortable } from './abortable.ts';

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
  /** `authorization_details` (RFC 9396), as JSON; of types that `login.allowAuthorizationDetails` has. */
  readonly authorizationDetails?: string;
  /** In a popup; a navigation where the browser opens none. */
  readonly popup?: boolean;
  /** A login address that is ready, such as `loginUrl` of a problem. */
  readonly url?: string;
  /** Ends the waiting for a popup. */
  readonly signal?: AbortSignal;
}

/**
 * @param look looks at the session after the sign-in
 * @param departure what is to come before a navigation
 */
export function createLogin(
  basePath: string,
  look: () => Promise<SessionView>,
  departure: () => Promise<void> | undefined,
) {
  /** Names this page in the messages of its popups. */
  const popupId = `${Math.random()}`;

  return async function login({ url, popup, signal, returnTo, ...given }: LoginOptions = {}): Promise<SessionView> {
    signal?.throwIfAborted();
    const { href, origin, pathname } = location;
    const address = new URL(url ?? `${basePath}/login`, href);
    // An address from elsewhere, `javascript:` included, must not be opened in the app's name.
    if (address.origin !== origin) throw failure('unexpected');
    const query = address.searchParams;
    for (const [name, value] of Object.entries(given)) {
      if (value !== undefined) query.set(name.replace(/[A-Z]/g, '_$&').toLowerCase(), value as string);
    }
    query.set(
      'returnTo',
      // The server takes no longer one.
      returnTo ?? query.get('returnTo') ?? (href.length > 2048 ? pathname : href.slice(origin.length)),
    );
    if (popup) {
      query.set('display', 'popup');
      query.set('popup', popupId);
      // Nothing tells that the person has closed a popup, because the provider's or the app's COOP cuts the handle. So a
      // call opens one even while another waits; calls of one moment find the same by its name.
      if (open(address, 'sallyport', 'width=500,height=700')) {
        let channel: BroadcastChannel;
        const waiting = new Promise<SessionView>((resolve, reject) => {
          channel = listen(basePath, (message) => {
            if (message.type === 'signed-in') resolve(look());
            if (message.popup === popupId) reject(failure(message.code as string));
          });
        });
        return abortable(waiting, signal).finally(() => channel.close());
      }
      // The app's own page must not become the one that a popup closes.
      query.delete('display');
      query.delete('popup');
    }
    await departure();
    location.assign(address);
    // The page is left.
    return new Promise(() => undefined);
  };
}

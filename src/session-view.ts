/** What the SPA gets to know about its session. Types without an import, because code for browsers shares them. */

/**
 * Why a session is over, in words for its person.
 *
 * - `logout`: they signed out, in this browser or in another one of theirs
 * - `backchannel`: they signed out elsewhere, or the provider ended its session
 * - `operator`: an operator ended it
 * - `expired`: its lifetime is over, or the tokens that it lived on are
 * - `idle`: it was not used for as long as is allowed
 * - `replaced`: another sign-in in this browser took its place
 * - `refused`: the provider, or the store that held it, does not know it any more
 * - `signal`: the provider says that the person or their device is at risk
 *
 * @example
 * ```ts
 * import type { SignedOutReason } from 'sallyport';
 *
 * export function mayBeExplained(reason: SignedOutReason | undefined): boolean {
 *   return reason !== undefined && reason !== 'logout' && reason !== 'replaced';
 * }
 * ```
 */
export type SignedOutReason =
  'logout' | 'backchannel' | 'operator' | 'expired' | 'idle' | 'replaced' | 'refused' | 'signal';

/**
 * The response of `/bff/session`. Times are ISO 8601 beside relative seconds; null means 'no such limit'. Signed out,
 * `reason` says why, where it is known.
 *
 * @example
 * ```ts
 * import type { SessionView } from 'sallyport';
 *
 * export async function readSession(): Promise<SessionView> {
 *   const response = await fetch('/bff/session');
 *   return (await response.json()) as SessionView;
 * }
 * ```
 */
export type SessionView =
  | { readonly authenticated: false; readonly loginUrl: string; readonly reason?: SignedOutReason }
  | {
      readonly authenticated: true;
      /** Claims, as the provider spells them (OpenID Connect Core 5.1). */
      readonly user: Readonly<Record<string, unknown>>;
      readonly session: {
        readonly createdAt: string;
        readonly expiresAt: string;
        readonly expiresInSeconds: number;
        readonly idleExpiresAt: string | null;
        readonly idleExpiresInSeconds: number | null;
      };
      readonly accessToken: {
        readonly expiresAt: string | null;
        readonly expiresInSeconds: number | null;
        readonly refreshable: boolean;
      };
      readonly logoutUrl: string;
    };

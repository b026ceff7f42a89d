/**
 * What happens, as typed domain events. Two kinds of listeners exist. The log (`telemetry/log.ts`) writes them, and an
 * app may do as much with `bff.events`. And the core depends on them: at `session.ended`, `session/session-bound.ts` ends
 * the calls and WebSockets of that session, so the event is emitted for every session that ends before its time.
 *
 * Listeners run at once and in order. An event never holds a token, a code, a cookie or a session id: `session` is a
 * short hash of the id.
 */

/**
 * One domain event. `type` tells which, and by it what else the event holds.
 *
 * @example
 * ```ts
 * import type { BffEvent } from 'sallyport';
 *
 * export function isFailedLogin(event: BffEvent): boolean {
 *   return event.type === 'login.failed';
 * }
 * ```
 */
export type BffEvent =
  | { readonly type: 'login.started' }
  /** A login had expired at the provider, and was begun anew. */
  | { readonly type: 'login.restarted'; readonly cause: unknown }
  | { readonly type: 'login.succeeded'; readonly session: string; readonly subject: string }
  /** The provider granted no refresh token: the session ends with its access token. */
  | {
      readonly type: 'login.refresh_token_missing';
      readonly session: string;
      readonly endsInSeconds: number;
      readonly advice: string;
    }
  | { readonly type: 'login.failed'; readonly reason: string; readonly cause?: unknown }
  | { readonly type: 'token.refreshed'; readonly session: string; readonly generation: number }
  /** The session's refresh token brought an access token for a resource. `resource` and `scope`: what was asked for. */
  | {
      readonly type: 'token.obtained';
      readonly session: string;
      readonly generation: number;
      readonly resource: string;
      readonly scope: string;
    }
  | {
      readonly type: 'token.refresh_failed';
      readonly session: string;
      readonly reason: string;
      readonly cause?: unknown;
    }
  /** A token for an API could not be obtained. `route` and `session` are undefined for one that all share. */
  | {
      readonly type: 'token.obtain_failed';
      readonly route: string | undefined;
      readonly session: string | undefined;
      readonly cause: unknown;
    }
  /** The provider says that a session's access token is not active, before a call of `route`. */
  | { readonly type: 'token.inactive'; readonly route: string; readonly session: string }
  /**
   * `require` of a route refused a call, and nothing has reached the API. `missing` says of what in the words of the
   * configuration; `reason` is the policy's own, where one was asked.
   */
  | {
      readonly type: 'access.denied';
      readonly session: string | undefined;
      readonly subject: string | undefined;
      readonly route: string;
      readonly method: string;
      readonly missing: readonly string[];
      readonly reason?: string | undefined;
    }
  /** A policy (`require.opa`) gave no decision, so that the call was refused. */
  | { readonly type: 'policy.failed'; readonly route: string; readonly cause: unknown }
  /** `remote`: whether another process ended it. */
  | {
      readonly type: 'session.ended';
      readonly session: string;
      readonly reason: SessionEnd;
      readonly remote: boolean;
    }
  | { readonly type: 'session.oversized'; readonly session: string; readonly bytes: number }
  /** A session's cookies reach a size that servers in front refuse by default. */
  | { readonly type: 'session.large'; readonly session: string; readonly bytes: number; readonly advice: string }
  | { readonly type: 'logout.revocation_failed'; readonly session: string; readonly cause: unknown }
  /** A logout token was refused: no session ended. */
  | { readonly type: 'logout.token_refused'; readonly reason: string; readonly detail: string }
  /** `scope`: what logins ask for. */
  | { readonly type: 'provider.discovered'; readonly scope: string }
  | { readonly type: 'provider.discovery_failed'; readonly cause: unknown }
  | { readonly type: 'provider.keys_failed'; readonly cause: unknown }
  /** The provider says of itself what cannot work with this configuration. */
  | { readonly type: 'provider.unsuitable'; readonly problem: string }
  /** The provider takes no pushed requests of this client, though it lists them: logins go on without. */
  | { readonly type: 'provider.push_refused'; readonly cause: unknown }
  /** Credentials were read anew, because their file has changed. `setting` names it: `client.keyFile`. */
  | { readonly type: 'credentials.renewed'; readonly setting: string }
  /** A file of credentials is missing, empty or broken. A key or certificate that was read before stays in use. */
  | { readonly type: 'credentials.unusable'; readonly setting: string; readonly cause: unknown }
  | { readonly type: 'userinfo.failed'; readonly cause: unknown }
  | { readonly type: 'store.failed'; readonly cause: unknown }
  /** The store has lost what it held. This process writes back as many ends as it remembers. */
  | { readonly type: 'store.emptied'; readonly ends: number }
  /** A process stopped before it could tell the store of that many ends, generations and confirmations. */
  | { readonly type: 'store.writes_lost'; readonly count: number }
  /** A listening socket failed after it had been opened: the server goes on. */
  | { readonly type: 'listener.failed'; readonly cause: unknown }
  /** A worker listens. */
  | { readonly type: 'worker.started'; readonly worker: number; readonly pid: number }
  /** A worker has ended as it was told to. */
  | { readonly type: 'worker.stopped'; readonly worker: number; readonly pid: number }
  /** A worker has ended by itself, or could not start. Another takes its place after `restartSeconds`. */
  | {
      readonly type: 'worker.failed';
      readonly worker: number;
      readonly pid: number | undefined;
      readonly reason: string;
      readonly restartSeconds: number;
    }
  /** SIGHUP: all workers run with the new configuration. */
  | { readonly type: 'config.replaced'; readonly workers: number }
  /** SIGHUP: the new configuration has faults, and the old one stays. */
  | { readonly type: 'config.refused'; readonly faults: readonly string[] }
  /** An error that nothing caught. The process drains and ends with 1. `count`: how many there were. */
  | {
      readonly type: 'process.failed';
      readonly count: number;
      readonly origin: string;
      readonly stack: readonly string[];
      readonly cause: unknown;
    };

/**
 * Why a session ended before its time.
 *
 * - `logout`: the person signed out
 * - `new_login`: another login in the same browser took its place
 * - `refresh_rejected`: the provider rejected the refresh token
 * - `refresh_id_token_invalid`: a refresh brought an invalid ID token
 * - `refresh_interrupted`: the provider rejected a refresh token that a process which broke off may have used up
 * - `backchannel`, `frontchannel`: the provider reported a sign-out elsewhere
 * - `operator`: an operator ended it
 * - `store_lost`: the store that held it has lost it
 * - `other_session`: the person ended it from another of their sessions
 *
 * @example
 * ```ts
 * import type { SessionEnd } from 'sallyport';
 *
 * export function isByThePerson(reason: SessionEnd): boolean {
 *   return reason === 'logout' || reason === 'new_login' || reason === 'other_session';
 * }
 * ```
 */
export type SessionEnd =
  | 'logout'
  | 'new_login'
  | 'refresh_rejected'
  | 'refresh_id_token_invalid'
  | 'refresh_interrupted'
  | 'backchannel'
  | 'frontchannel'
  | 'operator'
  | 'store_lost'
  | 'other_session';

/**
 * Where domain events are emitted and subscribed to.
 *
 * @example
 * ```ts
 * import type { Events } from 'sallyport';
 *
 * export function countRefreshes(events: Events): () => number {
 *   let count = 0;
 *   events.subscribe((event) => {
 *     if (event.type === 'token.refreshed') count += 1;
 *   });
 *   return () => count;
 * }
 * ```
 */
export interface Events {
  emit(event: BffEvent): void;
  /** @returns a function that ends the subscription */
  subscribe(listener: (event: BffEvent) => void): () => void;
}

export function createEvents(): Events {
  const listeners = new Set<(event: BffEvent) => void>();
  return {
    emit(event) {
      for (const listener of listeners) {
        try {
          listener(event);
        } catch (error) {
          // An error of one listener must neither reach the flow that emitted nor keep the event from the others.
          process.emitWarning(error instanceof Error ? error : String(error));
        }
      }
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

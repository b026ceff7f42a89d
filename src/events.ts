/**
 * What happens, as typed domain events. Flows emit them; the log (later the audit trail, metrics and traces) listens.
 * An event never holds a token, a code, a cookie or a session id: `session` is a short hash of the id.
 */

export type BffEvent =
  | { readonly type: 'login.started' }
  | { readonly type: 'login.succeeded'; readonly session: string; readonly subject: string }
  | { readonly type: 'login.failed'; readonly reason: string; readonly cause?: unknown }
  | { readonly type: 'token.refreshed'; readonly session: string; readonly generation: number }
  | {
      readonly type: 'token.refresh_failed';
      readonly session: string;
      readonly reason: string;
      readonly cause?: unknown;
    }
  | { readonly type: 'session.ended'; readonly session: string; readonly reason: SessionEnd }
  | { readonly type: 'session.oversized'; readonly session: string; readonly bytes: number }
  | { readonly type: 'logout.revocation_failed'; readonly session: string; readonly cause: unknown }
  | { readonly type: 'provider.discovered' }
  | { readonly type: 'provider.discovery_failed'; readonly cause: unknown }
  | { readonly type: 'userinfo.failed'; readonly cause: unknown }
  | { readonly type: 'store.failed'; readonly cause: unknown }
  /** A listening socket failed after it had been opened: the server goes on. */
  | { readonly type: 'listener.failed'; readonly cause: unknown }
  /** An error that nothing caught. The process drains and ends with 1. `count`: how many there were. */
  | {
      readonly type: 'process.failed';
      readonly count: number;
      readonly origin: string;
      readonly stack: readonly string[];
      readonly cause: unknown;
    };

/** Why a session ended. */
export type SessionEnd = 'logout' | 'new_login' | 'refresh_rejected' | 'refresh_id_token_invalid';

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
          // A listener's fault must not undo what happened.
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

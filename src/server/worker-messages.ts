/**
 * What the first process and its workers say to each other, over the channel of `child_process`. Values are cloned
 * (`serialization: 'advanced'`), so that a configuration arrives as it was.
 */
import type { ConfigInput } from '../config/config.ts';
import type { CloseLimits } from './shutdown.ts';
import type { StoreReplies, StoreRequests } from '../store/workers.ts';

export type ToWorker =
  | {
      readonly type: 'start';
      readonly worker: number;
      readonly config: ConfigInput;
      /** `dangerouslyAllowHttpIssuer`, whose key is a symbol and is not cloned. */
      readonly allowsHttpIssuer: boolean;
      /** The store that the first process holds; undefined where each worker has a connection of its own. */
      readonly store: { readonly durable: boolean } | undefined;
    }
  | { readonly type: 'store'; readonly frame: StoreReplies }
  /** Ends so many connections with their next answers. */
  | { readonly type: 'shed'; readonly connections: number }
  /** Another one may bring the end forward. */
  | { readonly type: 'stop'; readonly limits: Required<CloseLimits> };

export type FromWorker =
  | { readonly type: 'store'; readonly frame: StoreRequests }
  | { readonly type: 'listening' }
  /** It cannot start, and no other could in its place. */
  | { readonly type: 'refused'; readonly message: string; readonly code?: string | undefined }
  /** Whenever it changes, and as a sign of life. */
  | {
      readonly type: 'state';
      /** Whether it can sign people in. */
      readonly ready: boolean;
      readonly connections: number;
      /** Whether a debugger may stop it. */
      readonly inspected: boolean;
    }
  /** An error that nothing caught: it takes no new calls any more, and ends when those that run are finished. */
  | { readonly type: 'failing' };

/** A worker sends its state at least so often. */
export const signOfLifeMs = 1000;

/** The descriptor under which a worker finds the socket that all of them listen on. */
export const socketDescriptor = 3;

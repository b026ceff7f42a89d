/**
 * The contract of what several processes must agree on: which sessions have ended, which generation of a session is the
 * newest, who is refreshing. Four operations on texts that expire, so that one process's memory, Redis and Valkey serve
 * alike. A store never sees a token in clear: what it holds of a session is sealed.
 *
 * All keys: `generation:<id>`, `current:<id>` and `refreshing:<key>` (`session/shared-record.ts`), and
 * `login:<hash of the state>` (`session/transactions.ts`). In Redis each has the prefix `sallyport:`.
 *
 * @example
 * ```ts
 * import { createMemoryStore, type Store } from 'sallyport';
 *
 * export function counting(onWrite: () => void): Store {
 *   const store = createMemoryStore();
 *   return {
 *     ...store,
 *     async set(key, value, ttlSeconds) {
 *       onWrite();
 *       await store.set(key, value, ttlSeconds);
 *     },
 *   };
 * }
 * ```
 */
export interface Store {
  /** True when other processes may change its values, so that a local copy may be stale. */
  readonly shared: boolean;
  get(key: string): Promise<string | undefined>;
  set(key: string, value: string, ttlSeconds: number): Promise<void>;
  /** Sets `value` only if the key's value is `expected` (undefined: absent) at that instant. @returns whether it did */
  compareAndSet(key: string, expected: string | undefined, value: string, ttlSeconds: number): Promise<boolean>;
  delete(key: string): Promise<void>;
  close(): Promise<void>;
}

/** The {@link Store} of a single process: a map whose entries expire. */
import type { Store } from './store.ts';

const sweepSeconds = 60;

interface Entry {
  readonly value: string;
  readonly expiresAt: number;
}

/**
 * The store that Sallyport uses without `redisUrl`: sign-outs are forgotten at a restart and unknown to other
 * processes.
 *
 * @example
 * ```ts
 * import { createMemoryStore } from 'sallyport';
 *
 * const store = createMemoryStore();
 * await store.set('key', 'value', 60);
 * console.log(await store.get('key'));
 * await store.close();
 * ```
 */
export function createMemoryStore(): Store {
  const entries = new Map<string, Entry>();
  const sweeper = setInterval(sweep, sweepSeconds * 1000).unref();

  function read(key: string): string | undefined {
    const entry = entries.get(key);
    return entry === undefined || entry.expiresAt <= Date.now() ? undefined : entry.value;
  }

  function write(key: string, value: string, ttlSeconds: number): void {
    entries.set(key, { value, expiresAt: Date.now() + ttlSeconds * 1000 });
  }

  function sweep(): void {
    const now = Date.now();
    for (const [key, entry] of entries) if (entry.expiresAt <= now) entries.delete(key);
  }

  return {
    shared: false,
    async get(key) {
      return read(key);
    },
    async set(key, value, ttlSeconds) {
      write(key, value, ttlSeconds);
    },
    async compareAndSet(key, expected, value, ttlSeconds) {
      if (read(key) !== expected) return false;
      write(key, value, ttlSeconds);
      return true;
    },
    async delete(key) {
      entries.delete(key);
    },
    async close() {
      clearInterval(sweeper);
      entries.clear();
    },
  };
}

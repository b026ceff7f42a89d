/** The store that the configuration asks for: Redis or Valkey at `redisUrl`, else this process's memory. */
import type { Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import { createMemoryStore } from './memory.ts';
import { createRedisStore } from './redis.ts';
import type { Store } from './store.ts';

export function createConfiguredStore({ redisUrl, store }: Config, events: Events): Store {
  if (redisUrl === undefined) return createMemoryStore();
  const { prefix, caFile } = store;
  return createRedisStore(redisUrl, {
    prefix,
    caFile,
    onError: (cause) => events.emit({ type: 'store.failed', cause }),
  });
}

/** The store that the configuration asks for: Redis or Valkey at `redisUrl`, else this process's memory. */
import type { Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import { createMemoryStore } from './memory.ts';
import { createRedisStore } from './redis.ts';
import type { Store } from './store.ts';

export function createConfiguredStore({ redisUrl }: Config, events: Events): Store {
  if (redisUrl === undefined) return createMemoryStore();
  return createRedisStore(redisUrl, { onError: (cause) => events.emit({ type: 'store.failed', cause }) });
}

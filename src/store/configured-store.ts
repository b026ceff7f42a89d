/** The store that the configuration asks for: Redis or Valkey at `redisUrl`, `store.file`, else this process's memory. */
import type { Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import { createFileStore } from './file.ts';
import { createMemoryStore } from './memory.ts';
import { createRedisStore } from './redis.ts';
import type { Store } from './store.ts';

export function createConfiguredStore({ redisUrl, store }: Config, events: Events): Store {
  const { file, prefix, caFile } = store;
  const onError = (cause: unknown) => events.emit({ type: 'store.failed', cause });
  if (redisUrl !== undefined) return createRedisStore(redisUrl, { prefix, caFile, onError });
  return file === undefined ? createMemoryStore() : createFileStore(file, { onError });
}

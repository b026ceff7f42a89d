/**
 * Keeps what the demo provider remembers (sessions, grants, codes, refresh tokens) in this process, bounded, gone when
 * the demo stops. oidc-provider has a memory store of its own, which warns on every start that it isn't for production.
 */
import { LRUCache } from 'lru-cache';
import type { Adapter, AdapterFactory, AdapterPayload } from 'oidc-provider';

const maxEntries = 5000;

/** One store for all of the provider's models; entries leave when they expire or when the store is full. */
export function createProviderStore(): AdapterFactory {
  const entries = new LRUCache<string, AdapterPayload>({ max: maxEntries });
  return function adapterFor(model: string): Adapter {
    return createAdapter(entries, `${model}:`);
  };
}

function createAdapter(entries: LRUCache<string, AdapterPayload>, prefix: string): Adapter {
  return {
    async upsert(id, payload, expiresInSeconds) {
      const ttl = expiresInSeconds === undefined ? {} : { ttl: expiresInSeconds * 1000 };
      entries.set(prefix + id, payload, ttl);
    },
    async find(id) {
      return entries.get(prefix + id);
    },
    async findByUid(uid) {
      return entries.find((payload, key) => key.startsWith(prefix) && payload.uid === uid);
    },
    async findByUserCode() {
      // User codes belong to the device flow, which the demo doesn't offer.
      return undefined;
    },
    async consume(id) {
      const payload = entries.get(prefix + id);
      if (payload) payload.consumed = Math.floor(Date.now() / 1000);
    },
    async destroy(id) {
      entries.delete(prefix + id);
    },
    async revokeByGrantId(grantId) {
      const revoked = [...entries].filter(([key, payload]) => key.startsWith(prefix) && payload.grantId === grantId);
      for (const [key] of revoked) entries.delete(key);
    },
  };
}

/**
 * The memory behind one test provider. oidc-provider's own memory adapter is capped and can't be searched; this one
 * lets a test revoke what a person or an administrator would revoke.
 */
import type { Adapter, AdapterPayload } from 'oidc-provider';

interface Entry {
  model: string;
  id: string;
  payload: AdapterPayload;
  expiresAt: number;
}

export interface ProviderStorage {
  readonly adapter: (model: string) => Adapter;
  /** Removes every entry that matches and answers how many there were. */
  readonly remove: (matches: (model: string, payload: AdapterPayload) => boolean) => number;
}

export function createProviderStorage(): ProviderStorage {
  const entries = new Map<string, Entry>();

  function lookUp(model: string, id: string): AdapterPayload | undefined {
    const entry = entries.get(`${model}:${id}`);
    return entry && entry.expiresAt > Date.now() ? entry.payload : undefined;
  }

  function search(model: string, matches: (payload: AdapterPayload) => boolean): AdapterPayload | undefined {
    for (const entry of entries.values()) {
      if (entry.model === model && entry.expiresAt > Date.now() && matches(entry.payload)) return entry.payload;
    }
    return undefined;
  }

  function remove(matches: (model: string, payload: AdapterPayload) => boolean): number {
    const doomed = [...entries].filter(([, entry]) => matches(entry.model, entry.payload));
    for (const [key] of doomed) entries.delete(key);
    return doomed.length;
  }

  function adapter(model: string): Adapter {
    return {
      async upsert(id, payload, expiresIn) {
        const expiresAt = expiresIn === undefined ? Infinity : Date.now() + expiresIn * 1000;
        entries.set(`${model}:${id}`, { model, id, payload, expiresAt });
      },
      find: async (id) => lookUp(model, id),
      findByUid: async (uid) => search(model, (payload) => payload.uid === uid),
      findByUserCode: async (userCode) => search(model, (payload) => payload.userCode === userCode),
      async consume(id) {
        const payload = lookUp(model, id);
        if (payload) payload.consumed = Math.floor(Date.now() / 1000);
      },
      async destroy(id) {
        entries.delete(`${model}:${id}`);
      },
      async revokeByGrantId(grantId) {
        remove((_model, payload) => payload.grantId === grantId);
      },
    };
  }

  return { adapter, remove };
}

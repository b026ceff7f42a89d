/**
 * The sessions that this process has in memory: one entry for each, for as long as anything here uses it, whether that is
 * the cache of opened cookies, a call, a WebSocket or a refresh. So there are never two that know different things.
 *
 * What other processes do to a session arrives here, as messages of the store.
 */
import type { Events, SessionEnd } from '../events.ts';
import type { Revocation, Store, StoreMessage } from '../store/store.ts';
import { withTimeout } from '../timeout.ts';
import type { Endings } from './endings.ts';
import { loginIssuedAt } from './session.ts';
import { noteGeneration, type SessionEntry } from './session-entry.ts';

export interface ExpectedMessage {
  readonly within: (ms: number) => Promise<void>;
  readonly cancel: () => void;
}

export type LiveSessions = ReturnType<typeof createLiveSessions>;

interface LiveSessionDeps {
  readonly store: Store;
  readonly events: Events;
  readonly endings: Endings;
}

export function createLiveSessions({ store, events, endings }: LiveSessionDeps) {
  const entries = new Map<string, WeakRef<SessionEntry>>();
  /**
   * The keys of these sessions, by the names under which the provider ends them: to look at each of 100,000 takes 100 ms.
   * Most names have one, for which a set would take 180 bytes.
   */
  const keysByName = new Map<string, string | Set<string>>();
  const collected = new FinalizationRegistry<Pick<SessionEntry, 'key' | 'names'>>(forget);
  const waiting = new Map<string, Set<() => void>>();
  const advanceListeners: Array<(entry: SessionEntry) => void> = [];
  /** Names whose sessions this process is ending: the store's message of it is no news. */
  const ownRevocations = new Set<string>();
  const unsubscribe = store.subscribe(receive);

  function find(key: string): SessionEntry | undefined {
    return entries.get(key)?.deref();
  }

  function add(entry: SessionEntry): SessionEntry {
    entry.ended = endings.reasonFor(entry);
    entries.set(entry.key, new WeakRef(entry));
    index(entry);
    return entry;
  }

  function index(entry: SessionEntry): void {
    const { key, names } = entry;
    for (const name of names) {
      const known = keysByName.get(name);
      if (typeof known === 'object') known.add(key);
      else keysByName.set(name, known === undefined || known === key ? key : new Set([known, key]));
    }
    collected.register(entry, { key, names }, entry);
  }

  /** After a refresh whose ID token names another session of the provider's. */
  function rename(entry: SessionEntry, names: readonly string[]): void {
    if (entry.names.join() === names.join()) return;
    const { key, names: earlier } = entry;
    entry.names = names;
    collected.unregister(entry);
    index(entry);
    forget({ key, names: earlier });
    const reason = endings.reasonFor(entry);
    if (reason !== undefined) endHere(entry, reason);
  }

  /** After an entry is gone; there may be another of the same session since. */
  function forget({ key, names }: Pick<SessionEntry, 'key' | 'names'>): void {
    const current = find(key);
    if (current === undefined) entries.delete(key);
    for (const name of names) {
      if (current?.names.includes(name) === true) continue;
      const known = keysByName.get(name);
      if (typeof known === 'object') known.delete(key);
      if (known === key || (typeof known === 'object' && known.size === 0)) keysByName.delete(name);
    }
  }

  function receive(message: StoreMessage): void {
    switch (message.type) {
      case 'ended':
        endings.addSession(message.session, message.reason);
        return endHere(find(message.session), message.reason);
      case 'revoked':
        return endRevoked(message.name, message);
      case 'advanced':
        noteAdvance(find(message.session), message.generation);
        return wake(message.session);
      case 'released':
        return wake(message.session);
      case 'lost':
        // `lost-ends.ts` mends what can be mended.
        return undefined;
    }
  }

  /** Ends what the store says has ended. It may lose that, and this process its entry; a loss of the store is no such end. */
  function endElsewhere(entry: SessionEntry, reason: SessionEnd): void {
    if (reason !== 'store_lost') endings.addSession(entry.key, reason);
    endHere(entry, reason);
  }

  /** What this process ended itself has ended already. */
  function endHere(entry: SessionEntry | undefined, reason: SessionEnd, remote = true): void {
    if (entry === undefined || entry.ended !== undefined) return;
    entry.ended = reason;
    events.emit({ type: 'session.ended', session: entry.sessionHash, reason, remote });
    wake(entry.key);
  }

  /** Ends the sessions of a name, as far as they are here. */
  function endRevoked(name: string, { before, reason }: Revocation): void {
    endings.addName(name, { before, reason });
    for (const key of keysOf(name)) {
      const entry = find(key);
      if (entry === undefined || loginIssuedAt(entry.session) > before) continue;
      endHere(entry, reason, !ownRevocations.has(name));
    }
  }

  function keysOf(name: string): Iterable<string> {
    const known = keysByName.get(name) ?? [];
    return typeof known === 'string' ? [known] : known;
  }

  /** The sessions of a name that are here and have not ended. */
  function activeKeysOf(name: string): readonly string[] {
    return [...keysOf(name)].filter((key) => {
      const entry = find(key);
      return entry !== undefined && entry.ended === undefined;
    });
  }

  /** Runs what ends the sessions of a name because this process was told to. */
  async function revokeHere(name: string, work: () => Promise<void>): Promise<void> {
    ownRevocations.add(name);
    try {
      await work();
    } finally {
      ownRevocations.delete(name);
    }
  }

  /** The next call of the session gets the generation from the store. */
  function noteAdvance(entry: SessionEntry | undefined, generation: number): void {
    if (entry === undefined || generation <= entry.newestGeneration) return;
    noteGeneration(entry, generation);
    entry.knownAsOf = -Infinity;
    for (const listener of advanceListeners) listener(entry);
  }

  function wake(key: string): void {
    for (const resolve of waiting.get(key) ?? []) resolve();
  }

  /**
   * Begins to listen for messages about a session, before something is asked whose answer may be older than a message.
   * @returns `within`, which waits for the first message since then, for `ms` at most; and `cancel`
   */
  function expectMessage({ key }: SessionEntry): ExpectedMessage {
    const { promise, resolve } = Promise.withResolvers<void>();
    const resolvers = waiting.get(key) ?? new Set();
    waiting.set(key, resolvers.add(resolve));
    return {
      within: (ms) => withTimeout(promise, ms, () => undefined),
      cancel() {
        resolvers.delete(resolve);
        if (resolvers.size === 0 && waiting.get(key) === resolvers) waiting.delete(key);
      },
    };
  }

  const onAdvance = (listener: (entry: SessionEntry) => void) => void advanceListeners.push(listener);

  const changes = { endElsewhere, endRevoked, revokeHere, onAdvance };
  return { find, add, rename, activeKeysOf, expectMessage, ...changes, close: unsubscribe };
}

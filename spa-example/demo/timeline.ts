/**
 * What the demo's page shows of Sallyport's work, as it happens: for each person a short list of their own events, kept in
 * memory. An entry says that something happened and never with what: no token, no cookie, no session id comes in here.
 */
import { LRUCache } from 'lru-cache';
// Types only, so that the API runs without the rest of the repository.
import type { Events } from '../../src/events.ts';

export type TimelineKind = 'signed-in' | 'token-renewed' | 'token-refused' | 'call-repeated' | 'session-ended';

export interface TimelineEntry {
  /** Grows with each entry of the person; one that comes again with the same id replaces the earlier one. */
  id: number;
  at: string;
  kind: TimelineKind;
  /** How many times it happened at that moment. */
  count: number;
  /** Why a session ended. */
  reason?: string;
}

export interface Timeline {
  record(person: string, kind: TimelineKind, reason?: string): void;
  /** What there is, oldest first. */
  read(person: string): readonly TimelineEntry[];
  /** Calls the listener with each new or changed entry. Returns what ends it; undefined when too many follow already. */
  follow(person: string, listener: (entry: TimelineEntry) => void): (() => void) | undefined;
}

const maxPeople = 1000;
const maxEntries = 30;
const maxFollowers = 20;
/** Twenty calls at once are one entry. */
const sameMomentMs = 2000;

export function createTimeline(): Timeline {
  const entriesOf = new LRUCache<string, TimelineEntry[]>({ max: maxPeople, memoMethod: () => [] });
  const followersOf = new Map<string, Set<(entry: TimelineEntry) => void>>();
  let lastId = 0;

  function record(person: string, kind: TimelineKind, reason?: string): void {
    const entries = entriesOf.memo(person);
    const now = Date.now();
    let entry = entries.find((one) => one.kind === kind && now - Date.parse(one.at) < sameMomentMs);
    if (entry && (kind === 'token-refused' || kind === 'call-repeated')) {
      entry.count += 1;
    } else {
      lastId += 1;
      entry = {
        id: lastId,
        at: new Date(now).toISOString(),
        kind,
        count: 1,
        ...(reason === undefined ? {} : { reason }),
      };
      entries.push(entry);
      if (entries.length > maxEntries) entries.shift();
    }
    for (const follower of followersOf.get(person) ?? []) follower(entry);
  }

  function follow(person: string, listener: (entry: TimelineEntry) => void): (() => void) | undefined {
    const followers = followersOf.get(person) ?? new Set();
    if (followers.size >= maxFollowers) return undefined;
    followersOf.set(person, followers.add(listener));
    return () => {
      followers.delete(listener);
      if (followers.size === 0) followersOf.delete(person);
    };
  }

  return { record, follow, read: (person) => entriesOf.memo(person) };
}

/** Takes over what Sallyport does. Its events name a session by a hash; a sign-in says whose session that is. */
export function recordEvents(timeline: Timeline, events: Events): void {
  const personOf = new LRUCache<string, string>({ max: maxPeople });
  events.subscribe((event) => {
    if (event.type === 'login.succeeded') {
      personOf.set(event.session, event.subject);
      timeline.record(event.subject, 'signed-in');
      return;
    }
    if (event.type !== 'token.refreshed' && event.type !== 'session.ended') return;
    const person = personOf.get(event.session);
    if (person === undefined) return;
    if (event.type === 'token.refreshed') timeline.record(person, 'token-renewed');
    else timeline.record(person, 'session-ended', event.reason);
  });
}

/**
 * The open streams of session events. Each tells its tab of what happens to its session: changes, and the end. None counts
 * as a call, so none keeps a session from being idle.
 *
 * Thousands of them wait for nothing most of the time, so they share what they can: one member of the list that ends what
 * is bound to a session, one timer for all heartbeats, and one look at the store for whatever other processes did.
 */
import type { ServerResponse } from 'node:http';
import type { Config } from '../config/config.ts';
import { nowSeconds } from '../clock.ts';
import { detach } from '../detached.ts';
import type { Events } from '../events.ts';
import { retryField } from '../http/retry-field.ts';
import { SessionBound, type SessionBoundList } from '../session/session-bound.ts';
import type { SessionEntry, Sessions } from '../session/sessions.ts';
import { EventStream, eventText } from './event-stream.ts';
import type { SessionViews } from './session-view.ts';

/** Proxies cut what says nothing for a minute, and mobile networks sooner. */
const heartbeatSeconds = 25;
const heartbeat = ':\n\n';
/** Of one session: as many as its tabs, and not as many as the server has descriptors. */
const maximumStreams = 20;
/** When a client asks again whose session is over, or whose tabs are too many. */
const retryLateMs = 60_000;
/** Messages of other processes wait so long for others to come, and for a refresh of this process to be complete. */
const lookDelayMs = 100;
const lookedUpAtOnce = 100;

/** When a client comes again that another instance, or this one a little later, is to serve. */
function retrySoon(): string {
  return retryField(1000, 8000);
}

export const retryLate = retryField(retryLateMs);

function comeAgain(): string {
  return `${retrySoon()}\n`;
}

/** A session with streams. */
class WatchedSession extends SessionBound {
  readonly endsWhenIdle = true;
  readonly entry: SessionEntry;
  readonly streams = new Set<EventStream>();
  /** Which of the heartbeats are its own. */
  readonly beats: Set<WatchedSession>;
  readonly #ending: Ending;
  toldGeneration = -1;
  toldIdleEnd: number | undefined;

  constructor(entry: SessionEntry, beats: Set<WatchedSession>, ending: Ending) {
    super(entry);
    this.entry = entry;
    this.beats = beats;
    this.#ending = ending;
  }

  endWithSession(): void {
    this.#ending.end(this, () => this.#ending.farewell(this.entry));
  }

  override endWithServer(): void {
    this.#ending.end(this, comeAgain);
  }
}

interface Ending {
  /** @param lastWords of each stream, because not all are to come again at the same moment */
  readonly end: (watched: WatchedSession, lastWords: () => string) => void;
  readonly farewell: (entry: SessionEntry) => string;
}

interface EventStreamsDeps {
  readonly sessions: Sessions;
  readonly events: Events;
  readonly bound: SessionBoundList;
  readonly views: SessionViews;
}

export function createEventStreams(config: Config, { sessions, events, bound, views }: EventStreamsDeps) {
  const { idleSeconds } = config.session;
  const watchedSessions = new Map<string, WatchedSession>();
  /** One of these for each second between two heartbeats. Sessions take them by turns, so that each has as many. */
  const wheel = Array.from({ length: heartbeatSeconds }, () => new Set<WatchedSession>());
  const ending: Ending = { end: endAll, farewell };
  let added = 0;
  let beaten = 0;
  let beating: NodeJS.Timeout | undefined;
  const changedElsewhere = new Set<WatchedSession>();
  let looking: NodeJS.Timeout | undefined;

  events.subscribe((event) => {
    if (event.type !== 'token.refreshed') return;
    const watched = watchedSessions.get(event.session);
    if (watched !== undefined) tellOfRefresh(watched);
  });
  sessions.onAdvance(({ sessionHash }) => {
    const watched = watchedSessions.get(sessionHash);
    if (watched === undefined) return;
    changedElsewhere.add(watched);
    looking ??= setTimeout(lookAtChanged, lookDelayMs).unref();
  });

  /** Begins a stream of a session. */
  function open(response: ServerResponse, entry: SessionEntry): void {
    // A program's view of the claims may fail: then before there is a response.
    const text = viewText(entry);
    const watched = watchedSessions.get(entry.sessionHash) ?? new WatchedSession(entry, nextBeats(), ending);
    const stream = new EventStream(response, () => remove(watched, stream));
    // It may have ended while this request was read.
    if (sessions.hasEnded(entry)) return stream.end(farewell(entry));
    watched.streams.add(stream);
    noteTold(watched);
    stream.send(retrySoon() + text);
    if (watched.streams.size === 1) watch(watched);
    // The oldest: those that nobody reads any more are among them.
    const [oldest] = watched.streams;
    if (watched.streams.size > maximumStreams && oldest !== undefined) {
      watched.streams.delete(oldest);
      oldest.end(`${retryLate}\n`);
    }
  }

  function nextBeats(): Set<WatchedSession> {
    return wheel[added++ % heartbeatSeconds] as Set<WatchedSession>;
  }

  function watch(watched: WatchedSession): void {
    watchedSessions.set(watched.entry.sessionHash, watched);
    watched.beats.add(watched);
    beating ??= setInterval(beat, 1000).unref();
    // Ends it at once where the server is stopping.
    bound.add(watched);
  }

  function remove(watched: WatchedSession, stream: EventStream): void {
    if (watched.streams.delete(stream) && watched.streams.size === 0) unwatch(watched);
  }

  function unwatch(watched: WatchedSession): void {
    watchedSessions.delete(watched.entry.sessionHash);
    watched.beats.delete(watched);
    changedElsewhere.delete(watched);
    bound.remove(watched);
    if (watchedSessions.size > 0) return;
    clearInterval(beating);
    beating = undefined;
  }

  function endAll(watched: WatchedSession, lastWords: () => string): void {
    unwatch(watched);
    for (const stream of watched.streams) stream.end(lastWords());
    watched.streams.clear();
  }

  /** Where another session has taken the place of this one, the browser comes to its stream by itself. */
  function farewell(entry: SessionEntry): string {
    const reason = views.reasonOf(entry);
    return (reason === 'replaced' ? retrySoon() : retryLate) + eventText('signed-out', { reason });
  }

  function viewText(entry: SessionEntry): string {
    return eventText('session', views.signedIn(entry));
  }

  function noteTold(watched: WatchedSession): void {
    watched.toldGeneration = watched.entry.session.generation;
    watched.toldIdleEnd = sessions.idleEndsAt(watched.entry);
  }

  function tellOfRefresh(watched: WatchedSession): void {
    if (watched.entry.session.generation !== watched.toldGeneration) tell(watched);
  }

  /** Of a session whose time is over, the search for such tells. */
  function tell(watched: WatchedSession): void {
    if (sessions.hasEnded(watched.entry)) return;
    noteTold(watched);
    const text = viewOrNone(watched.entry);
    if (text === undefined) endAll(watched, comeAgain);
    else for (const stream of watched.streams) stream.send(text);
  }

  /** @returns undefined if the program's view of the claims fails, which a client that asks again is answered */
  function viewOrNone(entry: SessionEntry): string | undefined {
    try {
      return viewText(entry);
    } catch {
      return undefined;
    }
  }

  function beat(): void {
    for (const watched of wheel[beaten++ % heartbeatSeconds] ?? []) {
      if (mayBeBusyElsewhere(watched.entry)) detach(beatAfterLooking(watched), () => undefined);
      else beatOne(watched);
    }
  }

  /** No message tells of calls at other instances. While much of the idle time is left, they change little. */
  function mayBeBusyElsewhere(entry: SessionEntry): boolean {
    return (sessions.idleEndsAt(entry) ?? Infinity) - nowSeconds() < idleSeconds / 2;
  }

  async function beatAfterLooking(watched: WatchedSession): Promise<void> {
    await sessions.bringUpToDate(watched.entry);
    beatOne(watched);
  }

  function beatOne(watched: WatchedSession): void {
    const { entry, toldGeneration, toldIdleEnd } = watched;
    const isChanged = entry.session.generation !== toldGeneration || sessions.idleEndsAt(entry) !== toldIdleEnd;
    if (isChanged) tell(watched);
    else for (const stream of watched.streams) stream.sendLater(heartbeat);
  }

  function lookAtChanged(): void {
    looking = undefined;
    const changed = [...changedElsewhere];
    changedElsewhere.clear();
    detach(tellAfterLooking(changed), () => undefined);
  }

  async function tellAfterLooking(changed: readonly WatchedSession[]): Promise<void> {
    for (let at = 0; at < changed.length; at += lookedUpAtOnce) {
      await Promise.all(
        changed.slice(at, at + lookedUpAtOnce).map(async (watched) => {
          if (sessions.mayHaveChanged(watched.entry)) await sessions.bringUpToDate(watched.entry);
          tellOfRefresh(watched);
        }),
      );
    }
  }

  return { open };
}

/**
 * Keeps what is known true while anybody listens: by the events of the server, and by looks where those can miss
 * something. A tab can be suspended, a proxy can cut streams, a machine can sleep for a day, so there is a look when the
 * page is seen again, when it is online again, and when the session should have ended.
 */
import { backOff } from './clock.ts';
import { canShareEvents, createEventStream, type EventStream } from './event-stream.ts';
import type { KnownSession } from './known-session.ts';
import type { Message, Tabs } from './tabs.ts';

/** Timers take no more than 24 days. */
const longestWaitSeconds = 86_400;
/** Being shown again comes as several events at once. */
const recentSeconds = 1;

export type Watch = ReturnType<typeof createWatch>;

export function createWatch(basePath: string, known: KnownSession, tabs: Tabs, pass: (message: Message) => void) {
  let stopListening: (() => void) | undefined;
  let events: EventStream | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;

  function settled(failed: boolean): void {
    failures = failed ? failures + 1 : 0;
    clearTimeout(timer);
    if (stopListening === undefined) return;
    const left = known.secondsLeft();
    if (failed) timer = setTimeout(known.check, backOff(failures));
    else if (left !== undefined) timer = setTimeout(known.check, 1000 * Math.min(left + 1, longestWaitSeconds));
    events?.follow();
  }

  function connect(): void {
    if (stopListening !== undefined) return;
    stopListening = tabs.listen();
    if (canShareEvents()) events = createEventStream(basePath, known, pass);
    known.check();
  }

  /** Without lock, channel and connection the page may wait in the back-forward cache. */
  function disconnect(): void {
    stopListening?.();
    stopListening = undefined;
    events?.close();
    events = undefined;
    clearTimeout(timer);
  }

  function shown(): void {
    if (document.visibilityState === 'visible') known.check(recentSeconds);
  }

  return {
    settled,
    start(): void {
      addEventListener('pagehide', disconnect);
      addEventListener('pageshow', connect);
      addEventListener('online', shown);
      addEventListener('focus', shown);
      document.addEventListener('visibilitychange', shown);
      connect();
    },
    stop(): void {
      removeEventListener('pagehide', disconnect);
      removeEventListener('pageshow', connect);
      removeEventListener('online', shown);
      removeEventListener('focus', shown);
      document.removeEventListener('visibilitychange', shown);
      disconnect();
    },
  };
}

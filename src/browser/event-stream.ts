/** The browser's one connection to `/bff/events`: the tab that holds the Web Lock has it, the others hear from that tab. */
import type { SignedOutReason } from '../session-view.ts';
import { backOff, now, secondsSince } from './clock.ts';
import { isView, sessionOf, type KnownSession } from './known-session.ts';
import { hasChannel, type Message } from './tabs.ts';

/** A connection that lasted for less counts as a failed one. */
const steadySeconds = 30;

/** Whether this browser can share a connection between its tabs; if not, a connection a tab would use up its six. */
export const canShareEvents = () =>
  typeof navigator !== 'undefined' && 'locks' in navigator && typeof EventSource !== 'undefined' && hasChannel();

export interface EventStream {
  /** To be called whenever something is learnt: opens, keeps or closes the connection. */
  readonly follow: () => void;
  readonly close: () => void;
}

/** @param pass takes what the server says, for this tab and the others */
export function createEventStream(
  basePath: string,
  known: KnownSession,
  pass: (message: Message) => void,
): EventStream {
  const over = new AbortController();
  let release: (() => void) | undefined;
  let source: EventSource | undefined;
  let boundTo: string | undefined;
  let openedAt = now();
  let attempts = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function follow(): void {
    const session = sessionOf(known.current());
    if (release === undefined || session === boundTo) return;
    // Another session: its connection says nothing of the next one.
    drop();
    boundTo = session;
    attempts = 0;
    if (session) open();
  }

  function open(): void {
    openedAt = now();
    source = new EventSource(`${basePath}/events`);
    source.addEventListener('session', ({ data }: MessageEvent<string>) => {
      const session: unknown = JSON.parse(data);
      if (!isView(session)) return;
      // Without a session the server ends the stream.
      if (!session.authenticated) retry();
      pass({ type: 'session', session });
    });
    source.addEventListener('signed-out', ({ data }: MessageEvent<string>) => {
      retry();
      pass({ type: 'signed-out', reason: (JSON.parse(data) as { reason: SignedOutReason }).reason });
    });
    // The browser's own reconnection has no back-off, and gives up at an answer other than 200.
    source.addEventListener('error', retry);
  }

  /** Opens again later, unless `follow` finds by then that the session is over. */
  function retry(): void {
    drop();
    attempts = secondsSince(openedAt) < steadySeconds ? attempts + 1 : 0;
    timer = setTimeout(open, backOff(attempts));
  }

  function drop(): void {
    source?.close();
    source = undefined;
    clearTimeout(timer);
  }

  navigator.locks
    .request(`sallyport-events:${basePath}`, { signal: over.signal }, () => {
      if (over.signal.aborted) return undefined;
      return new Promise<void>((resolve) => {
        release = resolve;
        follow();
      });
    })
    // Given up while waiting, or not allowed in this frame: looks are left.
    .catch(() => undefined);

  return {
    follow,
    close() {
      over.abort();
      drop();
      release?.();
      release = undefined;
    },
  };
}

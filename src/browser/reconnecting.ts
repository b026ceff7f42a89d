/** The app's own streams and sockets: opened anew when they end, after a look at the session, and never in a storm. */
import type { SessionView } from '../session-view.ts';
import { backOff, now, secondsSince } from './clock.ts';
import type { KnownSession, Listener } from './known-session.ts';

/** A connection that lasted for less counts as a failed one. */
const steadySeconds = 30;
/** The other side is done (RFC 6455 7.4.1). */
const normalClosure = 1000;
/** Service Restart ends all sockets of a server at once: their clients take their time. */
const serviceRestart = 1012;
const restartAttempt = 2;

export function createReconnecting(known: KnownSession, subscribe: (listener: Listener) => () => void) {
  /** Opens, and opens again; returns what ends it. */
  return function reconnecting(open: () => EventSource | WebSocket): () => void {
    let connection: EventSource | WebSocket | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let openedAt = now();
    let attempts = 0;
    let isOver = false;
    let awaitsSignIn = false;

    function connect(): void {
      awaitsSignIn = false;
      openedAt = now();
      const opened = open();
      connection = opened;
      opened.addEventListener('close', (event) => ended((event as CloseEvent).code));
      // An EventSource reconnects by itself, unless the answer was an error.
      opened.addEventListener('error', () => {
        if (!(opened instanceof WebSocket) && opened.readyState === opened.CLOSED) ended();
      });
    }

    function ended(code?: number): void {
      if (isOver || code === normalClosure) return;
      const endedAt = now();
      attempts = secondsSince(openedAt) < steadySeconds ? attempts + 1 : 0;
      timer = setTimeout(
        () => {
          known.lookAfter(endedAt).then(proceed, () => ended());
        },
        backOff(code === serviceRestart ? Math.max(attempts, restartAttempt) : attempts),
      );
    }

    function proceed({ authenticated }: SessionView): void {
      awaitsSignIn = !authenticated;
      if (authenticated && !isOver) connect();
    }

    const unsubscribe = subscribe(({ authenticated }) => {
      if (awaitsSignIn && authenticated) connect();
    });
    connect();
    return () => {
      isOver = true;
      unsubscribe();
      clearTimeout(timer);
      connection?.close();
    };
  };
}

/**
 * `sallyport/browser/reconnecting`: the app's own streams and sockets, opened anew when they end, after a look at the
 * session, and never in a storm.
 */
import { session, subscribe, type SessionView, type Sallyport } from './index.ts';

/** The other side is done (RFC 6455 7.4.1). */
const normalClosure = 1000;
/** Service Restart ends all sockets of a server at once: their clients take some seconds. */
const serviceRestart = 1012;
const restartAttempt = 2;
/** A connection that lasted for less counts as a failed one. */
const steadyMs = 30_000;
const longestWaitSeconds = 60;

/**
 * Opens a WebSocket or an EventSource, and opens it again when it has ended: once, if the session goes on, or after the
 * next sign-in. Close code 1000 and `stop` end it.
 *
 * @example
 * ```ts
 * import { reconnecting } from 'sallyport/browser/reconnecting';
 *
 * export function watchPrices(show: (price: string) => void): () => void {
 *   return reconnecting(() => {
 *     const socket = new WebSocket('/api/prices');
 *     socket.addEventListener('message', ({ data }) => show(String(data)));
 *     return socket;
 *   });
 * }
 * ```
 * @param open makes one; called again for each connection
 * @param sallyport the instance whose session it follows; default: that of `/bff`
 * @returns stop
 */
export function reconnecting(
  open: () => EventSource | WebSocket,
  sallyport: Pick<Sallyport, 'session' | 'subscribe'> = { session, subscribe },
): () => void {
  let connection: EventSource | WebSocket | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let openedAt = 0;
  let attempts = 0;
  let isStopped = false;
  let awaitsSignIn = false;

  function connect(): void {
    awaitsSignIn = false;
    openedAt = performance.now();
    const opened = open();
    connection = opened;
    opened.addEventListener('close', (event) => ended((event as CloseEvent).code));
    // An EventSource reconnects by itself, unless the answer was an error. A socket closes after its error.
    opened.addEventListener('error', () => {
      if (!('bufferedAmount' in opened) && opened.readyState === opened.CLOSED) ended();
    });
  }

  function ended(code?: number): void {
    if (isStopped || code === normalClosure) return;
    const endedAt = performance.now();
    attempts = endedAt - openedAt < steadyMs ? attempts + 1 : 0;
    const span = Math.min(
      longestWaitSeconds,
      2 ** (code === serviceRestart ? Math.max(attempts, restartAttempt) : attempts),
    );
    // What the page has learnt since is new enough, so that connections that end together ask once.
    const look = () => sallyport.session((performance.now() - endedAt) / 1000).then(proceed, () => ended());
    timer = setTimeout(look, Math.random() * 1000 * span);
  }

  function proceed({ authenticated }: SessionView): void {
    awaitsSignIn = !authenticated;
    if (authenticated && !isStopped) connect();
  }

  const unsubscribe = sallyport.subscribe(({ authenticated }) => {
    if (awaitsSignIn && authenticated) connect();
  });
  connect();
  return () => {
    isStopped = true;
    unsubscribe();
    clearTimeout(timer);
    connection?.close();
  };
}

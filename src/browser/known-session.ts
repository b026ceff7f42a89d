/**
 * What this page knows of the session, and the one place where that changes. While anybody listens it is kept true: by
 * the events of the server, and by looks where those can miss something. A tab can be suspended, a proxy can cut streams,
 * a machine can sleep for a day, so there is a look when the page is seen again, when it is online again, and when the
 * session should have ended.
 */
import type { SessionView, SignedOutReason } from '../session-view.ts';
import { callEndpoint, failure } from './endpoint.ts';
import { untilSeenAgain, whenSeen } from './seen.ts';
import { shared } from './shared.ts';
import { idOf, listen, tell, type Message } from './tabs.ts';

type SignedOut = Partial<Extract<SessionView, { readonly authenticated: false }>>;
export type Listener = (session: SessionView) => void;
export type KnownSession = ReturnType<typeof createKnownSession>;

export function createKnownSession(basePath: string) {
  /** Each subscription apart, those of the same function as well. */
  const listeners = new Set<readonly [Listener]>();
  let view: SessionView | undefined;
  /** Who was signed in last, whether or not the session goes on. */
  let person: string | undefined;
  /** There after a sign-out, which leads away. */
  let leaving: Promise<void> | undefined;
  /** To the session's nearest end, when it was learnt. */
  let left: number | undefined;
  let learntAt = 0;
  /** Counts what this page learns: an answer that was asked for before may be the older one. */
  let changes = 0;

  /** There while anybody listens, unless the page is in the back-forward cache. */
  let connected: AbortController | undefined;
  let channel: BroadcastChannel | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;
  /** Gives the lock back; there while this tab has the connection of the browser. */
  let resign: (() => void) | undefined;
  let source: EventSource | undefined;
  let openFor: string | undefined;

  function learn(next: SessionView): SessionView {
    learntAt = Date.now();
    left = next.authenticated
      ? Math.min(next.session.expiresInSeconds, next.session.idleExpiresInSeconds ?? Infinity)
      : undefined;
    // What says no more stays the same object, for those who compare references.
    if (lasting(view) !== lasting(next) && (next.authenticated || next.reason || view?.authenticated !== false)) {
      if (next.authenticated) person = next.user['sub'] as string | undefined;
      else if (idOf(view) && next.reason === 'logout') leave();
      view = next;
      changes++;
      // Each apart, so that one that throws keeps the news from no other.
      for (const [listener] of listeners) queueMicrotask(() => listener(next));
    }
    settled();
    return view as SessionView;
  }

  async function ask(path: string, method?: 'POST'): Promise<SessionView> {
    const before = changes;
    const answer = await callEndpoint<SessionView>(basePath + path, method);
    if (!isView(answer)) throw failure('unexpected');
    if (before !== changes) return ask('/session');
    // The session that took its place comes with an answer to another tab, which may still be under way.
    if (view && connected && failures < 3 && (answer as SignedOut).reason === 'replaced') {
      settled(true);
      return view;
    }
    // Only this tab may have been told.
    tell(basePath, answer);
    return learn(answer);
  }

  const asking = shared(() => ask('/session'));

  async function session(maxAgeSeconds = listeners.size > 0 ? Infinity : 60): Promise<SessionView> {
    return view && age() < maxAgeSeconds ? view : asking();
  }

  /** Spans alone count. A clock that is set, back or forth, makes the answer older, so that there is a look too early. */
  const age = () => Math.abs(Date.now() - learntAt) / 1000;
  // oxlint-disable-next-line typescript/strict-boolean-expressions -- 0 stays 0
  const secondsLeft = () => left && Math.max(0, Math.ceil(left - age()));

  /** A look for nobody in particular; one that fails is followed by another. */
  function check(maxAgeSeconds = 0): void {
    session(maxAgeSeconds).catch(() => settled(true));
  }

  /**
   * Takes what the events say, or another tab, of one session. Either may be late: it neither begins a session nor replaces
   * one, nor ends another than its own.
   */
  function receive({ session: next, logoutUrl }: Message): void {
    const id = idOf(view);
    // A page hears what it says itself: of the session that has just ended here, there is no more to learn.
    if (isView(next) && (id ? logoutUrl === id && (next as SignedOut).reason !== 'replaced' : !idOf(next))) learn(next);
    else {
      changes++;
      check();
    }
  }

  /** A look after a sign-in: an answer that was asked for before it says nothing. */
  function look(): Promise<SessionView> {
    changes++;
    return session(0);
  }

  /** To the other tabs, and at once to this one. */
  function end(reason: SignedOutReason, logoutUrl: string | undefined): void {
    const over: SessionView = { authenticated: false, loginUrl: `${basePath}/login`, reason };
    tell(basePath, over, logoutUrl);
    receive({ session: over, logoutUrl });
  }

  /** After an answer, or after a look or a connection that failed. */
  function settled(failed?: boolean): void {
    clearTimeout(timer);
    if (!connected) return;
    // A random span that doubles to a minute, so that not all browsers come at once.
    if (failed) timer = setTimeout(check, 1000 * Math.random() * Math.min(60, 2 ** ++failures));
    else {
      // The tab with the connection knows by that whether it is over.
      if (!resign) failures = 0;
      // Timers take no more than 24 days.
      if (left !== undefined) timer = setTimeout(check, 1000 * Math.min(left + 1, 86_400));
      follow();
    }
  }

  /** The tab with the lock has a connection for the session that is known, and none for another or for none. */
  function follow(): void {
    const id = idOf(view);
    if (!resign || id === openFor) return;
    close(id);
    if (!id) return;
    source = new EventSource(`${basePath}/events`);
    source.addEventListener('session', ({ data }) => {
      failures = 0;
      // To this tab as well, by its own channel.
      tell(basePath, JSON.parse(data));
    });
    source.addEventListener('signed-out', ({ data }) => end(JSON.parse(data).reason, openFor));
    // The browser's own reconnection has no back-off, and gives up at an answer other than 200. After the next look there
    // is another connection.
    source.addEventListener('error', () => {
      close();
      settled(true);
    });
  }

  function close(next?: string): void {
    source?.close();
    openFor = next;
  }

  function connect(): void {
    connected = new AbortController();
    channel = listen(basePath, receive);
    // Without locks each tab would have a connection, and six of those are all that HTTP/1.1 gets from a browser.
    const locks = navigator.locks as LockManager | undefined;
    locks
      ?.request(`sallyport-events:${basePath}`, { signal: connected.signal }, () => {
        return new Promise<void>((resolve) => {
          resign = resolve;
          follow();
        });
      })
      // Given up while waiting, or not allowed in this frame: looks are left.
      .catch(() => undefined);
  }

  /** Without lock, channel and connection the page may wait in the back-forward cache. */
  function disconnect(): void {
    connected?.abort();
    channel?.close();
    resign?.();
    connected = resign = undefined;
    close();
    clearTimeout(timer);
  }

  function update(event?: Event): void {
    if (listeners.size === 0 || event?.type === 'pagehide') return disconnect();
    // Hidden it stays as it is, above all after `pagehide`.
    if (event && document.hidden) return;
    if (!connected) connect();
    else if (!event) return;
    // Being shown again comes as several events at once.
    check(1);
  }

  function subscribe(listener: Listener): () => void {
    const subscription = [listener] as const;
    listeners.add(subscription);
    addEventListener('pagehide', update);
    whenSeen(update);
    update();
    return () => {
      listeners.delete(subscription);
      update();
    };
  }

  function leave(): void {
    leaving = untilSeenAgain();
  }

  const current = () => view;
  const refresh = () => ask('/refresh', 'POST');
  const departure = () => leaving;
  const lastPerson = () => person;
  return [{ session, current, secondsLeft, subscribe, refresh }, end, look, leave, departure, lastPerson] as const;
}

function isView(view: SessionView | undefined): view is SessionView {
  return view?.authenticated === false || view?.session instanceof Object;
}

/** All but the seconds that are left, which pass by themselves. */
function lasting(view: SessionView | undefined): string | undefined {
  return JSON.stringify(view)?.replace(/InSeconds":\d+/g, '');
}

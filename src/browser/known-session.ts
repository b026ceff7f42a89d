/**
 * What this page knows of the session, and the one place where that changes. While anybody listens it is kept true: by
 * the events of the server, and by looks where those can miss something. A tab can be suspended, a proxy can cut streams,
 * a machine can sleep for a day, so there is a look when the page is seen again, when it is online again, and when the
 * session should have ended.
 */
import type { SessionView } from '../session-view.ts';
import { callEndpoint, failure } from './endpoint.ts';
import { listen, tell, type Message } from './tabs.ts';

export type Listener = (session: SessionView) => void;
export type KnownSession = ReturnType<typeof createKnownSession>;

export function createKnownSession(basePath: string) {
  const listeners = new Set<Listener>();
  let view: SessionView | undefined;
  /** To the session's nearest end, when it was learnt. */
  let left: number | undefined;
  let learntAt = 0;
  /** Counts what this page learns: an answer that was asked for before may be the older one. */
  let changes = 0;
  let asking: Promise<SessionView> | undefined;

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
      view = next;
      changes++;
      // Each apart, so that one that throws keeps the news from no other.
      for (const listener of listeners) queueMicrotask(() => listener(next));
    }
    settled();
    return view as SessionView;
  }

  /** For what only this tab may have been told. */
  function learnForAll(next: SessionView): SessionView {
    tell(basePath, { type: 'session', session: next });
    return learn(next);
  }

  async function ask(path: string, init?: { readonly method: 'POST' }): Promise<SessionView> {
    const before = changes;
    const answer = await callEndpoint<SessionView>(basePath + path, init);
    if (!isView(answer)) throw failure('unexpected');
    return before === changes ? learnForAll(answer) : ask('/session');
  }

  function session(maxAgeSeconds = listeners.size > 0 ? Infinity : 60): Promise<SessionView> {
    if (view && age() < maxAgeSeconds) return Promise.resolve(view);
    // One request for all who ask meanwhile.
    return (asking ??= ask('/session').finally(() => {
      asking = undefined;
    }));
  }

  /** Spans alone count. A clock that is set, back or forth, makes the answer older, so that there is a look too early. */
  const age = () => Math.abs(Date.now() - learntAt) / 1000;
  // oxlint-disable-next-line typescript/strict-boolean-expressions -- 0 stays 0
  const secondsLeft = () => left && Math.max(0, Math.ceil(left - age()));

  /** A look for nobody in particular; one that fails is followed by another. */
  function check(maxAgeSeconds = 0): void {
    session(maxAgeSeconds).catch(() => settled(true));
  }

  /** Takes what the events say, or another tab. Either may be late: it neither begins a session nor replaces one. */
  function receive(message: Message): void {
    if (message.type === 'signed-out' && message.reason !== 'replaced') {
      learn({ authenticated: false, loginUrl: `${basePath}/login`, reason: message.reason });
    } else if (message.type === 'session' && isView(message.session) && idOf(view) === idOf(message.session)) {
      learn(message.session);
    } else look().catch(() => settled(true));
  }

  /** A look after a sign-in: an answer that was asked for before it says nothing. */
  function look(): Promise<SessionView> {
    changes++;
    return session(0);
  }

  /** To the other tabs, and to this one. */
  function pass(message: Message): void {
    tell(basePath, message);
    receive(message);
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
      pass({ type: 'session', session: JSON.parse(data) });
    });
    source.addEventListener('signed-out', ({ data }) => pass({ type: 'signed-out', ...JSON.parse(data) }));
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
      ?.request(`sallyport-events:${basePath}`, { signal: connected.signal }, lead)
      // Given up while waiting, or not allowed in this frame: looks are left.
      .catch(() => undefined);
  }

  function lead(): Promise<void> {
    return new Promise((resolve) => {
      resign = resolve;
      follow();
    });
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
    listeners.add(listener);
    for (const type of ['pagehide', 'pageshow', 'visibilitychange', 'focus', 'online']) addEventListener(type, update);
    update();
    return () => {
      listeners.delete(listener);
      update();
    };
  }

  const current = () => view;
  const refresh = () => ask('/refresh', { method: 'POST' });
  return { session, current, secondsLeft, subscribe, refresh, pass, learnForAll, look };
}

function isView(view: SessionView | null | undefined): boolean {
  return view?.authenticated === false || view?.session instanceof Object;
}

/** The address for signing out names the session. */
export function idOf(view: SessionView | undefined): string | undefined {
  return (view as Partial<Extract<SessionView, { authenticated: true }>> | undefined)?.logoutUrl;
}

/** All but the seconds that are left, which pass by themselves. */
function lasting(view: SessionView | undefined): string | undefined {
  return JSON.stringify(view, (key, value: unknown) => (key.endsWith('InSeconds') ? 0 : value));
}

/**
 * As much of a browser as the module touches, with a server behind it that tests script. Two instances in it are like two
 * tabs: they share channel, locks and server.
 */
import { onTestFinished, vi } from 'vitest';
import type { SessionView } from '../../../src/browser/index.ts';

export const origin = 'https://app.example.com';

export type SignedIn = Extract<SessionView, { authenticated: true }>;

export const signedOut: SessionView = { authenticated: false, loginUrl: '/bff/login' };

export function signedIn(id = 'a', changes: Partial<SignedIn['session']> = {}): SignedIn {
  return {
    authenticated: true,
    user: { sub: 'alice' },
    session: {
      createdAt: '2026-11-21T09:00:00.000Z',
      expiresAt: '2026-11-21T17:00:00.000Z',
      expiresInSeconds: 28_800,
      idleExpiresAt: null,
      idleExpiresInSeconds: null,
      ...changes,
    },
    accessToken: { expiresAt: null, expiresInSeconds: null, refreshable: true },
    logoutUrl: `/bff/logout?sid=${id}`,
  };
}

export function problem(code: string, status = 401, headers: Record<string, string> = {}): Response {
  const body = { type: `/bff/errors#${code}`, title: code, status, detail: code, instance: '1', code };
  const loginUrl = status === 401 ? { loginUrl: '/bff/login' } : {};
  return new Response(JSON.stringify({ ...body, ...loginUrl }), {
    status,
    headers: {
      'content-type': 'application/problem+json',
      ...(status === 401 ? { 'www-authenticate': 'Sallyport' } : { 'retry-after': '2' }),
      ...headers,
    },
  });
}

class FakeEventSource extends EventTarget {
  static open: FakeEventSource[] = [];
  static opened = 0;
  readonly CLOSED = 2;
  readonly url: string;
  readyState = 0;

  constructor(url: string) {
    super();
    this.url = url;
    FakeEventSource.opened++;
    FakeEventSource.open.push(this);
  }

  close(): void {
    this.readyState = 2;
    FakeEventSource.open = FakeEventSource.open.filter((one) => one !== this);
  }

  say(type: string, data: unknown): void {
    this.dispatchEvent(new MessageEvent(type, { data: JSON.stringify(data) }));
  }

  fail(): void {
    this.dispatchEvent(new Event('error'));
  }
}

class FakeChannel extends EventTarget {
  static open = new Set<FakeChannel>();

  readonly name: string;

  constructor(name: string) {
    super();
    this.name = name;
    FakeChannel.open.add(this);
  }

  postMessage(data: unknown): void {
    const others = [...FakeChannel.open].filter((one) => one !== this && one.name === this.name);
    for (const one of others) {
      queueMicrotask(() => {
        if (FakeChannel.open.has(one)) one.dispatchEvent(new MessageEvent('message', { data: structuredClone(data) }));
      });
    }
  }

  close(): void {
    FakeChannel.open.delete(this);
  }
}

/** Web Locks, exclusive, in the order of the requests. */
function fakeLocks() {
  const waiting = new Map<string, Array<() => void>>();
  const held = new Set<string>();

  function next(name: string): void {
    if (held.has(name)) return;
    waiting.get(name)?.shift()?.();
  }

  return {
    held,
    request(name: string, { signal }: { signal: AbortSignal }, callback: () => Promise<unknown>): Promise<unknown> {
      return new Promise((resolve, reject) => {
        const queue = waiting.get(name) ?? [];
        waiting.set(name, queue);
        const take = () => {
          held.add(name);
          void callback()
            .then(resolve, reject)
            .finally(() => {
              held.delete(name);
              next(name);
            });
        };
        queue.push(take);
        signal.addEventListener('abort', () => {
          waiting.set(
            name,
            (waiting.get(name) ?? []).filter((one) => one !== take),
          );
          reject(signal.reason as Error);
        });
        queueMicrotask(() => next(name));
      });
    },
  };
}

export interface FakeBrowser {
  /** What `/bff/session` answers; replaced by tests. */
  session: SessionView;
  /** Answers every call; default: the session, and 200 for the rest. */
  answer: (request: Request) => Promise<Response> | Response;
  /** Methods and paths of the calls, in their order. */
  readonly calls: string[];
  readonly sources: () => FakeEventSource[];
  readonly sourcesOpened: () => number;
  readonly channelsOpen: () => number;
  readonly post: (message: unknown) => void;
  readonly fire: (type: string) => void;
  readonly navigated: string[];
  readonly popups: string[];
  readonly page: { hidden: boolean; popupsBlocked: boolean };
  /** Lets answers and messages arrive. */
  readonly settle: () => Promise<void>;
  /** Time passes, timers fire. */
  readonly pass: (seconds: number) => Promise<void>;
}

/** Ends with the test. Timers and `Date` are faked. */
export function fakeBrowser({ without = [] as readonly 'locks'[] } = {}): FakeBrowser {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
  FakeEventSource.open = [];
  FakeEventSource.opened = 0;
  FakeChannel.open = new Set();
  const events = new EventTarget();
  const navigated: string[] = [];
  const popups: string[] = [];
  const page = { hidden: false, popupsBlocked: false };
  const calls: string[] = [];
  const RealRequest = globalThis.Request;

  class PageRequest extends RealRequest {
    constructor(input: RequestInfo | URL, init?: RequestInit) {
      super(input instanceof RealRequest ? input : new URL(input, `${origin}/orders`), init);
    }
  }

  const browser: FakeBrowser = {
    session: signedIn(),
    answer: (request) => {
      const { pathname } = new URL(request.url);
      return /\/(?:session|refresh)$/.test(pathname) ? Response.json(browser.session) : new Response('fine');
    },
    calls,
    sources: () => FakeEventSource.open,
    sourcesOpened: () => FakeEventSource.opened,
    channelsOpen: () => FakeChannel.open.size,
    post: (message) => {
      const channel = new FakeChannel('sallyport');
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is another postMessage
      channel.postMessage(message);
      channel.close();
    },
    fire: (type) => events.dispatchEvent(new Event(type)),
    navigated,
    popups,
    page,
    settle: () => vi.advanceTimersByTimeAsync(0).then(() => undefined),
    pass: (seconds) => vi.advanceTimersByTimeAsync(seconds * 1000).then(() => undefined),
  };

  const globals: Record<string, unknown> = {
    Request: PageRequest,
    EventSource: FakeEventSource,
    BroadcastChannel: FakeChannel,
    navigator: { locks: fakeLocks() },
    document: page,
    location: Object.assign(new URL(`${origin}/orders?month=5#top`), {
      assign: (address: string | URL) => navigated.push(String(address)),
    }),
    addEventListener: events.addEventListener.bind(events),
    open: (address: URL) => {
      if (page.popupsBlocked) return null;
      popups.push(address.href);
      return {};
    },
    fetch: async (input: RequestInfo, init?: RequestInit) => {
      const request = new PageRequest(input, init);
      calls.push(`${request.method} ${new URL(request.url).pathname}`);
      request.signal.throwIfAborted();
      return browser.answer(request);
    },
  };
  if (without.includes('locks')) globals['navigator'] = {};
  for (const [name, value] of Object.entries(globals)) vi.stubGlobal(name, value);
  onTestFinished(() => {
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });
  return browser;
}

/** An answer that waits. */
export function held(): { readonly answer: Promise<Response>; readonly release: (response: Response) => void } {
  const { promise, resolve } = Promise.withResolvers<Response>();
  return { answer: promise, release: resolve };
}

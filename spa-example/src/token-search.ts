/**
 * Looks for tokens wherever a script in this page can look: what a script that somebody has smuggled in would do. Each place
 * yields the text that was found there, as the evidence, and whether a token is in it.
 */
import { sallyport } from './session.ts';

export interface Finding {
  place: string;
  /** What was there, for the person to read. */
  evidence: string;
  /** Where it looks like a token; empty when there is none. */
  tokens: readonly string[];
}

interface Place {
  name: string;
  read: () => Promise<string> | string;
}

const patienceMs = 3000;

/** JWTs in the compact form, encrypted ones too (`eyJ` is base64url of `{"`), and members that hold a token by their name. */
const tokenShapes = [
  /eyJ[\w-]+\.[\w-]*\.[\w-]+(?:\.[\w-]+){0,2}/g,
  /"(?:access|refresh|id)_?token"\s*:\s*"[^"]+"/gi,
  /\bBearer\s+[\w.~+/=-]{8,}/g,
  /\bsallyport\.[\w-]{20,}|\b__Host-Http-session[^=]*=[^;\s]+/g,
];

export function findTokens(text: string): string[] {
  return tokenShapes.flatMap((shape) => text.match(shape) ?? []);
}

/** Looks at one place after the other, and tells of each as soon as it is known. */
export async function searchForTokens(onFinding: (finding: Finding) => void): Promise<void> {
  const overheard = listenToTabs();
  const places: readonly Place[] = [
    ...storages,
    ...answers,
    ...detours,
    { name: 'Messages between tabs', read: overheard },
  ];
  for (const { name, read } of places) {
    const evidence = await Promise.resolve()
      .then(read)
      .catch((error: unknown) => `refused: ${error instanceof Error ? error.message : String(error)}`);
    onFinding({ place: name, evidence, tokens: findTokens(evidence) });
  }
}

const storages: readonly Place[] = [
  { name: 'document.cookie', read: () => document.cookie || 'empty' },
  { name: 'localStorage', read: () => contentOf(localStorage) },
  { name: 'sessionStorage', read: () => contentOf(sessionStorage) },
  { name: 'IndexedDB', read: readDatabases },
  { name: 'Cache API', read: readCaches },
  { name: 'This document', read: readDocument },
  {
    name: 'Addresses that were loaded',
    read: () => [location.href, ...performance.getEntriesByType('resource').map(({ name }) => name)].join('\n'),
  },
];

const answers: readonly Place[] = [
  { name: 'GET /bff/session', read: () => ask('/bff/session') },
  { name: 'POST /bff/refresh', read: () => ask('/bff/refresh', { method: 'POST' }) },
  { name: 'GET /bff/sessions', read: () => ask('/bff/sessions') },
  { name: 'GET /bff/events', read: readFirstEvent },
  { name: 'GET /api/token, the API’s own answer', read: () => ask('/api/token') },
];

const detours: readonly Place[] = [
  { name: 'GET /bff/login by fetch', read: () => ask('/bff/login', { redirect: 'manual' }) },
  { name: 'A sign-in in a hidden frame', read: signInInFrame },
];

function contentOf(storage: Storage): string {
  return (
    Object.entries(storage)
      .map(([key, value]) => `${key} = ${String(value)}`)
      .join('\n') || 'empty'
  );
}

async function readDatabases(): Promise<string> {
  const names = (await indexedDB.databases()).flatMap(({ name }) => name ?? []);
  const contents = await Promise.all(names.map(readDatabase));
  return contents.join('\n') || 'empty';
}

async function readDatabase(name: string): Promise<string> {
  const database = await settled(indexedDB.open(name));
  try {
    const stores = [...database.objectStoreNames];
    if (stores.length === 0) return `${name}: empty`;
    const transaction = database.transaction(stores);
    const all = await Promise.all(stores.map((store) => settled(transaction.objectStore(store).getAll())));
    return `${name}: ${JSON.stringify(all)}`;
  } finally {
    database.close();
  }
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.addEventListener('success', () => resolve(request.result));
    request.addEventListener('error', () => reject(request.error ?? new Error('no reason given')));
  });
}

async function readCaches(): Promise<string> {
  const found: string[] = [];
  for (const name of await caches.keys()) {
    const cache = await caches.open(name);
    for (const request of await cache.keys()) {
      const response = await cache.match(request);
      found.push(`${request.url}\n${(await response?.text()) ?? ''}`);
    }
  }
  return found.join('\n') || 'empty';
}

/** Without this panel, which shows what it has found before. */
function readDocument(): string {
  const copy = document.documentElement.cloneNode(true) as HTMLElement;
  for (const panel of copy.querySelectorAll('[data-search]')) panel.remove();
  return copy.outerHTML;
}

async function ask(path: string, init: RequestInit = {}): Promise<string> {
  const signal = AbortSignal.timeout(patienceMs);
  const response = await fetch(path, { ...init, headers: { 'x-csrf': '1' }, signal });
  const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`);
  return [`${response.status} ${response.statusText}`, ...headers, '', await response.text()].join('\n').trim();
}

/** What a stream says first; it would go on for hours. */
async function readFirstEvent(): Promise<string> {
  const leaving = new AbortController();
  const timer = setTimeout(() => leaving.abort(), patienceMs);
  try {
    const response = await fetch('/bff/events', { headers: { 'x-csrf': '1' }, signal: leaving.signal });
    const chunk = await response.body?.getReader().read();
    return `${response.status} ${response.statusText}\n${new TextDecoder().decode(chunk?.value)}`.trim();
  } finally {
    clearTimeout(timer);
    leaving.abort();
  }
}

/** What single-page apps used to do: a sign-in that nobody sees, whose answer a script reads. */
async function signInInFrame(): Promise<string> {
  const frame = document.createElement('iframe');
  frame.hidden = true;
  frame.title = 'An attempt to sign in unseen';
  frame.src = '/bff/login?prompt=none';
  const loaded = new Promise<void>((resolve) => frame.addEventListener('load', () => resolve(), { once: true }));
  document.body.append(frame);
  try {
    await Promise.race([loaded, patience()]);
    const inside = frame.contentDocument;
    if (inside === null) return 'refused: the browser shows an error in the frame, which no script can read';
    return `${inside.location.href}\n${inside.documentElement.outerHTML}`;
  } finally {
    frame.remove();
  }
}

/** What is said on the channel of Sallyport while the search goes on, and when the session is looked at anew. */
function listenToTabs(): () => Promise<string> {
  const messages: string[] = [];
  const channel = new BroadcastChannel('sallyport');
  const heard = new Promise<void>((resolve) => {
    channel.addEventListener('message', ({ data }) => {
      messages.push(JSON.stringify(data));
      resolve();
    });
  });
  return async () => {
    await sallyport.session(0);
    await Promise.race([heard, patience()]);
    channel.close();
    return messages.join('\n') || 'nothing was said';
  };
}

function patience(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, patienceMs));
}

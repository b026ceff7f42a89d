/**
 * A shared cache (RFC 9111) on loopback, as a CDN or a company's proxy has one: it keeps whatever it may, gives it to
 * everybody who asks, and knows nothing of cookies. Small, but no stricter than the RFC: what this one keeps apart, a
 * caching server on the way may not, but what it gives away, some server will.
 */
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { abortWith, readBody, startListener } from './listener.ts';

export interface SharedCacheOptions {
  /**
   * The targeted fields that it heeds in place of `Cache-Control` (RFC 9213), the most special first. A CDN has its own,
   * a proxy of a company none. Default none.
   */
  targeted?: readonly string[];
  /** Heeds `Surrogate-Control` and `X-Accel-Expires` before all others, as servers of old do. */
  surrogate?: boolean;
}

export interface SharedCache {
  readonly port: number;
  /** Paths that were answered without asking the origin, or with its mere word that nothing has changed. */
  readonly reused: string[];
  /** Paths whose answers it holds. */
  readonly kept: () => string[];
  readonly close: () => Promise<void>;
}

interface Answer {
  status: number;
  rawHeaders: string[];
  headers: IncomingHttpHeaders;
  body: Buffer;
}

interface Stored extends Answer {
  /** The request's values of the fields that `Vary` names. */
  selectedBy: ReadonlyMap<string, string>;
  storedAt: number;
  freshSeconds: number;
}

type Directives = ReadonlyMap<string, string | undefined>;

/** Statuses that may be kept without a word about how long (RFC 9110 15.1). */
const heuristicallyCacheable = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]);

/** Starts one in front of a loopback port. */
export async function startSharedCache(originPort: number, options: SharedCacheOptions = {}): Promise<SharedCache> {
  const store = new Map<string, Stored[]>();
  const reused: string[] = [];

  const listener = await startListener((request, response) => {
    serve(request, response).catch(abortWith(response));
  });

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url = '/', headers } = request;
    const { status, rawHeaders, body } = await answer(method, url, headers, await readBody(request));
    response.writeHead(status, withoutFraming(rawHeaders)).end(body);
  }

  async function answer(method: string, url: string, headers: IncomingHttpHeaders, body: Buffer): Promise<Answer> {
    const isRead = method === 'GET' || method === 'HEAD';
    const stored = isRead ? (store.get(url) ?? []).findLast((candidate) => isSelected(candidate, headers)) : undefined;
    // Whoever asks for a part or with a condition of his own is passed through, as RFC 9111 4 allows.
    const isPlain = headers.range === undefined && headers['if-none-match'] === undefined;
    if (stored === undefined || !isPlain) return ask(method, url, headers, body);
    if (isFresh(stored)) return reuse(url, stored);
    const { etag } = stored.headers;
    if (etag === undefined) return ask(method, url, headers, body);
    const validated = await ask(method, url, { ...headers, 'if-none-match': etag }, body);
    return validated.status === 304 ? reuse(url, stored) : validated;
  }

  function reuse(url: string, stored: Stored): Answer {
    reused.push(url);
    return stored;
  }

  async function ask(method: string, url: string, headers: IncomingHttpHeaders, body: Buffer): Promise<Answer> {
    const answered = await askOrigin(originPort, method, url, headers, body);
    if (method === 'GET') keep(url, headers, answered);
    // RFC 9111 4.4: a change made through this cache makes what it holds worthless.
    else if (method !== 'HEAD' && answered.status < 400) store.delete(url);
    return answered;
  }

  function keep(url: string, headers: IncomingHttpHeaders, answered: Answer): void {
    const { freshSeconds, mayKeep } = judge(answered, headers, options);
    if (!mayKeep) return;
    const selectedBy = new Map(fieldNames(answered.headers.vary).map((name) => [name, String(headers[name] ?? '')]));
    const others = (store.get(url) ?? []).filter((candidate) => !isSelected(candidate, headers));
    store.set(url, [...others, { ...answered, selectedBy, freshSeconds, storedAt: Date.now() }]);
  }

  return { port: listener.port, reused, kept: () => [...store.keys()], close: listener.close };
}

/** May this answer be kept (RFC 9111 3), and for how long is it fresh (4.2.1)? */
function judge(
  { status, headers }: Answer,
  request: IncomingHttpHeaders,
  { targeted = [], surrogate = false }: SharedCacheOptions,
): { mayKeep: boolean; freshSeconds: number } {
  if (surrogate) {
    const told = directivesOf(headers['surrogate-control']).get('max-age') ?? headers['x-accel-expires'];
    if (told !== undefined) return { mayKeep: true, freshSeconds: Number(told) };
  }
  const target = targeted.find((name) => headers[name] !== undefined);
  const directives = directivesOf(headers[target ?? 'cache-control']);
  const lifetime = directives.get('s-maxage') ?? directives.get('max-age');
  const expires = target === undefined && headers.expires !== undefined ? Date.parse(headers.expires) : undefined;
  const isExplicit = lifetime !== undefined || expires !== undefined || directives.has('public');
  const isShareable = ['public', 's-maxage', 'must-revalidate'].some((name) => directives.has(name));
  const isForbidden =
    directives.has('no-store') ||
    // A list of fields is about those fields only (5.2.2.7).
    (directives.has('private') && directives.get('private') === undefined) ||
    (request.authorization !== undefined && !isShareable) ||
    fieldNames(headers.vary).includes('*') ||
    directivesOf(request['cache-control']).has('no-store');
  const isFinal = status >= 200 && status !== 206 && status !== 304;
  return {
    mayKeep: !isForbidden && isFinal && (isExplicit || heuristicallyCacheable.has(status)),
    freshSeconds: directives.has('no-cache') ? 0 : freshness(lifetime, expires, headers),
  };
}

function freshness(lifetime: string | undefined, expires: number | undefined, headers: IncomingHttpHeaders): number {
  if (lifetime !== undefined) return Number.parseInt(lifetime, 10);
  if (expires !== undefined) return (expires - Date.now()) / 1000;
  // 4.2.2: a tenth of the time since the last change.
  const changed = headers['last-modified'] === undefined ? undefined : Date.parse(headers['last-modified']);
  return changed === undefined ? 0 : (Date.now() - changed) / 10_000;
}

/**
 * Directives by name, in lower case, with their values; what stands in quotes is a value and no directive. Of one that
 * stands twice the last counts: RFC 9111 4.2.1 would rather have the first, but leaves it open.
 */
export function directivesOf(field: string | string[] | undefined): Directives {
  const directives = new Map<string, string | undefined>();
  const parts = [field ?? []]
    .flat()
    .join(',')
    .matchAll(/\s*([^\s,=";]+)(?:=("(?:[^"\\]|\\.)*"|[^,]*))?[^,]*(?:,|$)/g);
  for (const [, name = '', value] of parts) directives.set(name.toLowerCase(), value?.replaceAll('"', '').trim());
  return directives;
}

/** The members of a list of field names, in lower case. */
export function fieldNames(field: string | undefined): string[] {
  return (field ?? '').split(',').flatMap((name) => name.trim().toLowerCase() || []);
}

function isSelected({ selectedBy }: Stored, headers: IncomingHttpHeaders): boolean {
  return [...selectedBy].every(([name, value]) => value === String(headers[name] ?? ''));
}

function isFresh({ storedAt, freshSeconds }: Stored): boolean {
  return Date.now() < storedAt + freshSeconds * 1000;
}

function askOrigin(
  port: number,
  method: string,
  path: string,
  headers: IncomingHttpHeaders,
  body: Buffer,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, method, path, headers }, (response) => {
      readBody(response).then(
        (answered) =>
          resolve({
            status: response.statusCode ?? 0,
            rawHeaders: response.rawHeaders,
            headers: response.headers,
            body: answered,
          }),
        reject,
      );
    });
    request.once('error', reject);
    request.end(body);
  });
}

/** The cache frames what it answers by itself. */
function withoutFraming(rawHeaders: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [name = '', value = ''] = rawHeaders.slice(at, at + 2);
    if (!/^(?:connection|keep-alive|transfer-encoding|content-length)$/i.test(name)) kept.push(name, value);
  }
  return kept;
}

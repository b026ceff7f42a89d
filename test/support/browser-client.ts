/**
 * An HTTP client that behaves as a browser does where Sallyport depends on it: cookies (SameSite over redirect chains
 * included), fetch metadata, `Origin`, referrer policy, preflights, and pages that move on by themselves.
 */
import { Agent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { brotliDecompressSync, gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib';
import { cookieName } from './cookie-names.ts';
import { readBody } from './listener.ts';
import { CookieJar, isSameSite, isTrustworthy, type BrowserProfile, type SiteContext } from './cookie-jar.ts';

export interface Exchange {
  method: string;
  url: string;
  requestHeaders: Record<string, string>;
  status: number;
  headers: IncomingHttpHeaders;
  rawHeaders: string[];
  setCookies: string[];
  /** Names of the cookies that this answer set and that the browser refused to store. */
  refusedCookies: string[];
  body: Buffer;
  text: string;
  /** The body as JSON; fails where it isn't. */
  json(): Record<string, unknown>;
  /** One plain value of the JSON, by its path: `at('session.expiresAt')`. */
  at(path: string): string | number | boolean | null | undefined;
}

export interface Navigation extends Exchange {
  /** Every exchange from the first to the last, this one included. */
  chain: Exchange[];
}

export interface NavigateOptions {
  /** The origin of the page that the navigation starts from; `none`: typed or bookmarked. Default `none`. */
  initiator?: string;
  method?: 'GET' | 'POST';
  /** Sent as `application/x-www-form-urlencoded`. */
  form?: Record<string, string>;
  /** Where the document goes: `iframe` makes it a nested navigation under the initiator's page. */
  destination?: 'document' | 'iframe' | 'object' | 'embed';
  /** A speculative load (`Sec-Purpose: prefetch`). */
  prefetch?: boolean;
  /** Replaces or (with `null`) removes headers. */
  headers?: Record<string, string | null>;
  /** Follow redirects and pages that move on by themselves. Default true. */
  follow?: boolean;
  /** Stops before this URL would be requested; the answer is the exchange that led to it. */
  stopBefore?: (url: URL) => boolean;
  /** The referrer policy of the page that starts the navigation. Default `strict-origin-when-cross-origin`. */
  referrerPolicy?: string;
  maxHops?: number;
}

export interface FetchOptions {
  method?: string;
  headers?: Record<string, string | null>;
  body?: string | Buffer | Record<string, unknown>;
  /** As in browsers: default `cors`. */
  mode?: 'cors' | 'no-cors' | 'same-origin';
  credentials?: 'omit' | 'same-origin' | 'include';
  /** The kind of subresource; default `empty` (a fetch call). */
  destination?: 'empty' | 'image' | 'script' | 'style';
  signal?: AbortSignal;
}

export interface BrowserClientOptions {
  /** The origin of the app's page. */
  origin: string;
  profile?: BrowserProfile;
  /** A browser without fetch metadata sends no `Sec-Fetch-*`. Default true. */
  fetchMetadata?: boolean;
}

export interface Seen {
  url: string;
  head: string;
  body: Buffer;
}

/** How a browser names its requests' headers, as far as servers look at them. */
interface Hop {
  url: URL;
  method: string;
  body: Buffer | undefined;
  headers: Record<string, string | null>;
  context: SiteContext;
  withCookies: boolean;
  signal?: AbortSignal | undefined;
}

type Answer = Omit<Exchange, 'requestHeaders' | 'refusedCookies'>;

/** A navigation on its way: the chain of URLs decides about SameSite and `Sec-Fetch-Site`. */
interface Journey {
  initiator: string;
  urls: URL[];
  method: string;
  form: Record<string, string> | undefined;
  referrerPolicy: string;
}

const decoders: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  gzip: gunzipSync,
  deflate: inflateSync,
  br: brotliDecompressSync,
  zstd: zstdDecompressSync,
};

const navigationAccept = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';

/** What `fetch` does where a browser refuses to send or to go on. */
export class BlockedByBrowser extends TypeError {}

export class BrowserClient {
  readonly origin: string;
  readonly cookies: CookieJar;
  /** Every response that this client (and what it was cloned from) has seen. */
  readonly seen: Seen[];
  readonly #fetchMetadata: boolean;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #routes = new Map<string, number>();

  constructor(options: BrowserClientOptions, cookies?: CookieJar, seen: Seen[] = []) {
    this.origin = options.origin;
    this.cookies = cookies ?? new CookieJar(options.profile ?? 'chromium');
    this.seen = seen;
    this.#fetchMetadata = options.fetchMetadata ?? true;
  }

  /** The same browser with a copy of the jar: an old tab whose cookies don't change any more. */
  clone(): BrowserClient {
    const options = { origin: this.origin, fetchMetadata: this.#fetchMetadata };
    const copy = new BrowserClient(options, this.cookies.clone(), this.seen);
    for (const [host, port] of this.#routes) copy.#routes.set(host, port);
    return copy;
  }

  /**
   * Sends what is meant for `origin` to a loopback port, in plain HTTP: as a load balancer that ends TLS and chooses
   * an instance.
   */
  routeTo(port: number, origin = this.origin): void {
    this.#routes.set(new URL(origin).host, port);
  }

  /** The name of a cookie of the app, from its plain one: `own('session')` is `session-3000` on that port. */
  own(plain: string): string {
    return cookieName(plain, this.origin);
  }

  /** The `Cookie` header of a same-site request. */
  cookieHeader(url = this.origin): string | undefined {
    return this.cookies.header(url);
  }

  close(): void {
    this.#agent.destroy();
  }

  /** Goes to a page, as a person does, through redirects and pages that move on by themselves. */
  async navigate(target: string, options: NavigateOptions = {}): Promise<Navigation> {
    const chain: Exchange[] = [];
    const maxHops = options.maxHops ?? 20;
    let journey: Journey | undefined = {
      initiator: options.initiator ?? 'none',
      urls: [new URL(target, this.origin)],
      method: options.method ?? (options.form ? 'POST' : 'GET'),
      form: options.form,
      referrerPolicy: options.referrerPolicy ?? 'strict-origin-when-cross-origin',
    };
    while (journey) {
      const url: URL = lastOf(journey.urls);
      if (chain.length > 0 && options.stopBefore?.(url)) break;
      if (chain.length > maxHops)
        throw new Error(`more than ${maxHops} hops: ${chain.map((hop) => hop.url).join(' -> ')}`);
      const exchange = await this.#send(this.#navigationHop(journey, options));
      chain.push(exchange);
      journey = options.follow === false ? undefined : nextLeg(journey, exchange);
    }
    return { ...lastOf(chain), chain };
  }

  /** Submits a form as the page at `from` does: a top-level navigation. */
  submitForm(action: string, form: Record<string, string>, options: NavigateOptions = {}): Promise<Navigation> {
    return this.navigate(action, { initiator: this.origin, method: 'POST', form, ...options });
  }

  /**
   * Fetches as a script on a page of `from` does. Redirects are followed on the same origin only: the answer is the
   * redirect itself where it leads elsewhere. The answer is what came over the wire, also where a browser would hide
   * it from the script; {@link BlockedByBrowser} is thrown where a browser would not send the request at all.
   */
  async fetch(target: string, options: FetchOptions = {}, { from = this.origin } = {}): Promise<Exchange> {
    const url = new URL(target, this.origin);
    const method = (options.method ?? 'GET').toUpperCase();
    const mode = options.mode ?? 'cors';
    const isSameOrigin = url.origin === from;
    if (mode === 'same-origin' && !isSameOrigin) throw new BlockedByBrowser('mode same-origin, another origin');
    const { headers, body } = fetchBody(options);
    if (mode === 'no-cors') assertSimple(method, headers);
    if (mode === 'cors' && !isSameOrigin && !isSimple(method, headers))
      await this.#preflight(url, method, headers, from);

    const credentials = options.credentials ?? 'same-origin';
    const exchange = await this.#send({
      url,
      method,
      body,
      headers: { ...this.#fetchHeaders(url, method, from, options), ...headers },
      context: isSameSite(url, from) ? 'same-site' : 'cross-site-subresource',
      withCookies: credentials === 'include' || (credentials === 'same-origin' && isSameOrigin),
      signal: options.signal,
    });
    const next = redirectTarget(exchange);
    if (!next || next.origin !== url.origin || !isSameOrigin) return exchange;
    const isSeeOther = exchange.status === 303 || (exchange.status < 303 && method === 'POST');
    const { body: _body, ...withoutBody } = options;
    return this.fetch(next.href, isSeeOther ? { ...withoutBody, method: 'GET' } : options, { from });
  }

  async #preflight(url: URL, method: string, headers: Record<string, string | null>, from: string): Promise<void> {
    const names = Object.keys(headers)
      .filter((name) => !isSimpleHeader(name, headers[name] ?? ''))
      .map((name) => name.toLowerCase());
    const exchange = await this.#send({
      url,
      method: 'OPTIONS',
      body: undefined,
      headers: {
        ...this.#fetchHeaders(url, 'OPTIONS', from, {}),
        'access-control-request-method': method,
        ...(names.length > 0 ? { 'access-control-request-headers': names.toSorted().join(',') } : {}),
      },
      context: 'cross-site-subresource',
      withCookies: false,
    });
    const allowedOrigin = exchange.headers['access-control-allow-origin'];
    if (allowedOrigin !== from && allowedOrigin !== '*') throw new BlockedByBrowser('the preflight was not allowed');
  }

  #navigationHop(journey: Journey, options: NavigateOptions): Hop {
    const url = lastOf(journey.urls);
    const destination = options.destination ?? 'document';
    const body = journey.form && Buffer.from(new URLSearchParams(journey.form).toString());
    const origin = navigationOrigin(journey, url);
    const referrer = navigationReferrer(journey, url);
    return {
      url,
      method: journey.method,
      body,
      headers: {
        accept: navigationAccept,
        'upgrade-insecure-requests': '1',
        ...(body ? { 'content-type': 'application/x-www-form-urlencoded' } : {}),
        ...(origin === undefined ? {} : { origin }),
        ...(referrer === undefined ? {} : { referer: referrer }),
        ...this.#metadata(url, {
          'sec-fetch-site': siteOfChain(journey.initiator, journey.urls),
          'sec-fetch-mode': 'navigate',
          'sec-fetch-dest': destination,
          ...(options.prefetch ? { 'sec-purpose': 'prefetch' } : { 'sec-fetch-user': '?1' }),
        }),
        ...options.headers,
      },
      context: this.#navigationContext(journey, destination !== 'document'),
      withCookies: true,
    };
  }

  #navigationContext(journey: Journey, isNested: boolean): SiteContext {
    const url = lastOf(journey.urls);
    const counted = this.cookies.profile === 'chromium' ? [] : journey.urls.slice(0, -1);
    const before = journey.initiator === 'none' ? counted : [journey.initiator, ...counted];
    if (before.every((earlier) => isSameSite(earlier, url))) return 'same-site';
    if (isNested) return 'cross-site-subresource';
    return journey.method === 'GET' ? 'cross-site-safe-navigation' : 'cross-site-unsafe-navigation';
  }

  #fetchHeaders(url: URL, method: string, from: string, options: FetchOptions): Record<string, string> {
    const mode = options.mode ?? 'cors';
    const isSameOrigin = url.origin === from;
    const sendsOrigin = (mode === 'cors' && !isSameOrigin) || (method !== 'GET' && method !== 'HEAD');
    return {
      accept: '*/*',
      ...(sendsOrigin ? { origin: from } : {}),
      referer: `${from}/`,
      ...this.#metadata(url, {
        'sec-fetch-site': siteOfChain(from, [url]),
        'sec-fetch-mode': mode,
        'sec-fetch-dest': options.destination ?? 'empty',
      }),
    };
  }

  #metadata(url: URL, headers: Record<string, string>): Record<string, string> {
    return this.#fetchMetadata && isTrustworthy(url) ? headers : {};
  }

  async #send(hop: Hop): Promise<Exchange> {
    const cookie = hop.withCookies ? this.cookies.header(hop.url, hop.context) : undefined;
    const requestHeaders = definedHeaders({
      host: hop.url.host,
      'user-agent': `Mozilla/5.0 (test; ${this.cookies.profile})`,
      'accept-language': 'en',
      'accept-encoding': 'gzip, deflate, br, zstd',
      ...(cookie === undefined ? {} : { cookie }),
      ...hop.headers,
    });
    const answer = await this.#transmit(hop, requestHeaders);
    const refusedCookies: string[] = [];
    if (hop.withCookies) {
      // A top-level navigation stores every SameSite value, even when it is cross-site (RFC 6265bis 5.7, step 18).
      const context = hop.context === 'cross-site-subresource' ? hop.context : 'same-site';
      for (const setCookie of answer.setCookies) {
        if (!this.cookies.store(setCookie, hop.url, context)) refusedCookies.push(setCookie.split('=')[0] ?? '');
      }
    }
    this.seen.push({ url: hop.url.href, head: answer.rawHeaders.join('\n'), body: answer.body });
    return { ...answer, requestHeaders, refusedCookies };
  }

  #transmit(hop: Hop, headers: Record<string, string>): Promise<Answer> {
    const route = this.#routes.get(hop.url.host);
    if (hop.url.protocol !== 'http:' && route === undefined) throw new Error(`no route to ${hop.url.origin}`);
    return new Promise((resolve, reject) => {
      const request = httpRequest({
        // Whatever its name, every host of the tests is this machine.
        host: '127.0.0.1',
        port: route ?? (hop.url.port || 80),
        path: `${hop.url.pathname}${hop.url.search}`,
        method: hop.method,
        headers: hop.body ? { ...headers, 'content-length': String(hop.body.length) } : headers,
        agent: this.#agent,
        ...(hop.signal ? { signal: hop.signal } : {}),
      });
      request.once('error', reject);
      request.once('response', (response) => {
        readAnswer(hop, response).then(resolve, reject);
      });
      request.end(hop.body);
    });
  }
}

async function readAnswer(hop: Hop, response: IncomingMessage): Promise<Answer> {
  const body = decode(await readBody(response), response.headers['content-encoding']);
  const text = body.toString();
  return {
    method: hop.method,
    url: hop.url.href,
    status: response.statusCode ?? 0,
    headers: response.headers,
    rawHeaders: response.rawHeaders,
    setCookies: response.headers['set-cookie'] ?? [],
    body,
    text,
    json: () => parseJson(text, response.statusCode),
    at: (path) => valueAt(parseJson(text, response.statusCode), path),
  };
}

/** `Sec-Fetch-Site`: the worst that any URL of the chain has been. */
function siteOfChain(initiator: string, urls: URL[]): 'none' | 'same-origin' | 'same-site' | 'cross-site' {
  if (initiator === 'none') return 'none';
  if (urls.every((url) => url.origin === initiator)) return 'same-origin';
  return urls.every((url) => isSameSite(url, initiator)) ? 'same-site' : 'cross-site';
}

/** `Origin` of a navigation: only with POST, `null` after a cross-origin hop or under a strict referrer policy. */
function navigationOrigin(journey: Journey, url: URL): string | undefined {
  if (journey.method === 'GET') return undefined;
  if (journey.initiator === 'none' || journey.referrerPolicy === 'no-referrer') return 'null';
  const isSameOrigin = journey.initiator === url.origin;
  if (journey.referrerPolicy === 'same-origin' && !isSameOrigin) return 'null';
  const foreignHop = journey.urls.slice(0, -1).some((earlier) => earlier.origin !== url.origin);
  return foreignHop ? 'null' : journey.initiator;
}

function navigationReferrer(journey: Journey, url: URL): string | undefined {
  if (journey.initiator === 'none' || journey.referrerPolicy === 'no-referrer') return undefined;
  const isSameOrigin = journey.initiator === url.origin;
  return journey.referrerPolicy === 'same-origin' && !isSameOrigin ? undefined : `${journey.initiator}/`;
}

/** Where the answer sends the browser next: a redirect continues the journey, a page starts a new one. */
function nextLeg(journey: Journey, exchange: Exchange): Journey | undefined {
  const redirect = redirectTarget(exchange);
  if (redirect) {
    const becomesGet =
      exchange.status === 303 || ((exchange.status === 301 || exchange.status === 302) && journey.form);
    return {
      ...journey,
      urls: [...journey.urls, redirect],
      method: becomesGet ? 'GET' : journey.method,
      form: becomesGet ? undefined : journey.form,
    };
  }
  const move = moveOfPage(exchange);
  if (!move) return undefined;
  const referrerPolicy = exchange.headers['referrer-policy'];
  return {
    initiator: new URL(exchange.url).origin,
    urls: [move.url],
    method: move.form ? 'POST' : 'GET',
    form: move.form,
    referrerPolicy: typeof referrerPolicy === 'string' ? referrerPolicy : 'strict-origin-when-cross-origin',
  };
}

function redirectTarget(exchange: Exchange): URL | undefined {
  const { location } = exchange.headers;
  if (location === undefined || ![301, 302, 303, 307, 308].includes(exchange.status)) return undefined;
  return withFragmentOf(exchange.url, new URL(location, exchange.url));
}

/** A redirect without a fragment keeps that of the address that redirects (RFC 9110 10.2.2). */
function withFragmentOf(from: string, to: URL): URL {
  if (to.hash === '') to.hash = new URL(from).hash;
  return to;
}

/** A page that moves on by itself: `location.replace`, a meta refresh, or a form that submits itself. */
function moveOfPage(exchange: Exchange): { url: URL; form?: Record<string, string> } | undefined {
  if (!exchange.headers['content-type']?.startsWith('text/html')) return undefined;
  const page = exchange.text;
  const scripts = [...page.matchAll(/<script[^>]*>([\s\S]*?)<\/script>/gi)].map((match) => match[1] ?? '').join('\n');
  const replaced = /location\.(?:replace|assign)\(\s*("(?:[^"\\]|\\.)*"|'[^']*')\s*\)/.exec(scripts)?.[1];
  if (replaced) return { url: new URL(scriptString(replaced), exchange.url) };
  const mark = /\bu\.search\+=.*'(\w+)'\+\(u\.hash&&.*\);location\.replace\(u\)/.exec(scripts)?.[1];
  if (mark !== undefined) return { url: markedAddress(exchange.url, mark) };
  if (/\.submit\(\)/.test(scripts)) return submittedForm(page, exchange.url);
  const refresh = /<meta[^>]+http-equiv=["']?refresh["']?[^>]*content=(?:"([^"]*)"|'([^']*)')/i.exec(page);
  const refreshUrl = /url=\s*['"]?([^'"]*)/i.exec(unescapeHtml(refresh?.[1] ?? refresh?.[2] ?? ''))?.[1];
  return refreshUrl ? { url: new URL(refreshUrl, exchange.url) } : undefined;
}

/** The same address with one more parameter in its query: what the script of the reload page makes of it. */
function markedAddress(address: string, mark: string): URL {
  const url = new URL(address);
  const fragment = url.hash === '' ? '' : `=${encodeURIComponent(url.hash)}`;
  url.search += `${url.search === '' ? '?' : '&'}${mark}${fragment}`;
  return url;
}

/** The first form of a page, and what its inputs hold. */
export function submittedForm(page: string, base: string): { url: URL; form: Record<string, string> } | undefined {
  const [, attributes = '', content = ''] = /<form([^>]*)>([\s\S]*?)<\/form>/i.exec(page) ?? [];
  const action = attributeOf(attributes, 'action');
  if (action === undefined) return undefined;
  const form: Record<string, string> = {};
  for (const [, input = ''] of content.matchAll(/<input([^>]*)>/gi)) {
    const name = attributeOf(input, 'name');
    if (name !== undefined) form[name] = attributeOf(input, 'value') ?? '';
  }
  return { url: new URL(action, base), form };
}

function attributeOf(attributes: string, name: string): string | undefined {
  const match = new RegExp(`(?:^|\\s)${name}=(?:"([^"]*)"|'([^']*)'|([^\\s"'>]+))`, 'i').exec(attributes);
  const value = match?.[1] ?? match?.[2] ?? match?.[3];
  return value === undefined ? undefined : unescapeHtml(value);
}

function unescapeHtml(text: string): string {
  const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
  return text.replace(/&(?:#x([\da-f]+)|#(\d+)|(amp|lt|gt|quot|apos));/gi, (_all, hex, decimal, name) => {
    if (hex) return String.fromCodePoint(Number.parseInt(String(hex), 16));
    return decimal ? String.fromCodePoint(Number(decimal)) : (named[String(name).toLowerCase()] ?? '');
  });
}

function scriptString(literal: string): string {
  return literal.startsWith('"') ? String(JSON.parse(literal)) : literal.slice(1, -1);
}

function fetchBody(options: FetchOptions): { headers: Record<string, string | null>; body: Buffer | undefined } {
  const headers = options.headers ?? {};
  if (options.body === undefined) return { headers, body: undefined };
  if (typeof options.body === 'string' || Buffer.isBuffer(options.body)) {
    const body = Buffer.from(options.body);
    const type = typeof options.body === 'string' ? { 'content-type': 'text/plain;charset=UTF-8' } : {};
    return { headers: { ...type, ...headers }, body };
  }
  return {
    headers: { 'content-type': 'application/json', ...headers },
    body: Buffer.from(JSON.stringify(options.body)),
  };
}

function isSimple(method: string, headers: Record<string, string | null>): boolean {
  if (!['GET', 'HEAD', 'POST'].includes(method)) return false;
  return Object.entries(headers).every(([name, value]) => value === null || isSimpleHeader(name, value));
}

function isSimpleHeader(name: string, value: string): boolean {
  const lower = name.toLowerCase();
  if (lower === 'content-type') {
    return /^(?:text\/plain|application\/x-www-form-urlencoded|multipart\/form-data)(?:;|$)/i.test(value);
  }
  return ['accept', 'accept-language', 'content-language'].includes(lower);
}

function assertSimple(method: string, headers: Record<string, string | null>): void {
  if (!isSimple(method, headers)) throw new BlockedByBrowser('mode no-cors allows simple requests only');
}

function definedHeaders(headers: Record<string, string | null>): Record<string, string> {
  const kept = Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== null);
  return Object.fromEntries(kept.map(([name, value]) => [name.toLowerCase(), value]));
}

function decode(bytes: Buffer, encoding: string | undefined): Buffer {
  if (bytes.length === 0) return bytes;
  return decoders[encoding ?? '']?.(bytes) ?? bytes;
}

function parseJson(text: string, status: number | undefined): Record<string, unknown> {
  try {
    const value: Record<string, unknown> = JSON.parse(text);
    return value;
  } catch (cause) {
    throw new Error(`not JSON (status ${status}): ${text.slice(0, 200)}`, { cause });
  }
}

function valueAt(json: unknown, path: string): string | number | boolean | null | undefined {
  let value = json;
  for (const name of path.split('.')) {
    value = typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
  }
  if (value === null || value === undefined) return value;
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  throw new Error(`${path} is no plain value`);
}

function lastOf<Item>(items: Item[]): Item {
  const last = items.at(-1);
  if (last === undefined) throw new Error('empty list');
  return last;
}

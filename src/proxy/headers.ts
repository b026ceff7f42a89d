/**
 * The one header policy, for both directions, for HTTP and for WebSocket upgrades. What describes a connection stays on
 * it (RFC 9110 7.6.1); what the client says about who it is or where it came from is its own word and never passes.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { isOwnCookie, type CookieNames } from '../session/cookies.ts';

/** About one connection: never forwarded in either direction. */
const hopByHop = words(`
  connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer
  transfer-encoding upgrade http2-settings proxy-status
`);

/** Set afresh by us or by the HTTP client, or no business of the API. */
const setByProxy = words(`
  host content-length expect authorization cookie cookie2 x-csrf
`);

/** Names by which servers and frameworks take a proxy's word for who is calling, from where, and what for. */
const identity = words(`
  forwarded via x-real-ip x-client-ip x-cluster-client-ip true-client-ip cf-connecting-ip
  fastly-client-ip client-ip x-original-url x-rewrite-url x-original-uri x-original-host x-host
  x-http-method x-http-method-override x-method-override remote-user x-remote-user x-user x-user-id
  x-username x-email x-groups x-roles x-access-token x-id-token x-client-cert x-ssl-client-cert
  x-ssl-client-verify ssl-client-cert ssl-client-verify x-envoy-external-address
`);
const identityPrefixes = words(`
  x-forwarded x-auth-request- x-authenticated- x-envoy- x-ms-client-principal x-goog-authenticated-
  secure-session- sec-session- sec-secure-session-
`);

/** Said for a whole origin, which is ours and not the API's: its transport, storage, reporting, workers, client hints. */
const aboutTheOrigin = words(`
  strict-transport-security public-key-pins public-key-pins-report-only expect-ct alt-svc clear-site-data
  nel report-to reporting-endpoints origin-agent-cluster accept-ch accept-ch-lifetime critical-ch service-worker-allowed
  set-login idp-signin-status use-as-dictionary supports-loading-mode activate-storage-access speculation-rules
  shared-storage-write observe-browsing-topics
`);

/** Orders to a server in front of us, to send a file or another address of its own in place of the answer. */
const toServersInFront = words(`
  x-accel-redirect x-sendfile x-litespeed-location x-reproxy-url
`);

/** Grants to other origins; we grant none. */
const grants = words('timing-allow-origin x-permitted-cross-domain-policies');

const requestDropped = new Set([...hopByHop, ...setByProxy, ...identity]);
const responseDropped = new Set([...hopByHop, ...aboutTheOrigin, ...toServersInFront, ...grants]);

/** Verdicts by name as spelled; bounded, for clients choose the names. Saves a lower-casing per header and call. */
const verdicts = new Map<string, boolean>();
const maximumVerdicts = 2000;
const maximumKeptName = 64;

function passesUpstream(name: string): boolean {
  const known = verdicts.get(name);
  if (known !== undefined) return known;
  // Some servers read "_" as "-" (CGI variables), so X_Forwarded_For would be taken for X-Forwarded-For.
  const folded = name.toLowerCase().replaceAll('_', '-');
  const verdict = !requestDropped.has(folded) && !identityPrefixes.some((prefix) => folded.startsWith(prefix));
  if (verdicts.size < maximumVerdicts && name.length <= maximumKeptName) verdicts.set(name, verdict);
  return verdict;
}

/** What is said to the upstream in our own name. */
export interface OwnHeaders {
  readonly host: string;
  readonly forwardedFor: string;
  readonly forwardedHost: string;
  readonly forwardedProto: string;
  /** Value of `Authorization`. */
  readonly authorization: string | undefined;
}

/**
 * The headers of the upstream request, as a flat list of names and values.
 * @param raw the client's headers as they came: a flat list
 */
export function requestHeaders(raw: readonly string[], connection: string | undefined, own: OwnHeaders): string[] {
  const nominated = nominatedBy(connection);
  const headers = ['host', own.host];
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] as string;
    if (!passesUpstream(name) || nominated?.has(name.toLowerCase()) === true) continue;
    headers.push(name, raw[index + 1] as string);
  }
  headers.push('x-forwarded-for', own.forwardedFor, 'x-forwarded-host', own.forwardedHost);
  headers.push('x-forwarded-proto', own.forwardedProto);
  if (own.authorization !== undefined) headers.push('authorization', own.authorization);
  return headers;
}

/** What of the upstream's response headers must not pass, beyond what never does. */
export interface ResponsePolicy {
  readonly names: CookieNames;
  /** The answer is for one person: caches on the way see no `Authorization` and must be told. */
  readonly authenticated: boolean;
}

/** The headers of the response to the client, as a flat list; `cookies` are our own `Set-Cookie` lines. */
export function responseHeaders(
  headers: IncomingHttpHeaders,
  policy: ResponsePolicy,
  cookies: readonly string[],
): string[] {
  const nominated = nominatedBy(headers.connection);
  const out: string[] = [];
  let caching: Map<string, readonly string[]> | undefined;
  for (const name in headers) {
    if (!isForwardable(name) || nominated?.has(name) === true) continue;
    const value = headers[name];
    if (value === undefined) continue;
    if (policy.authenticated && isAboutCaching(name)) {
      caching ??= new Map();
      caching.set(name, [value].flat());
    } else if (typeof value === 'string') {
      if (name !== 'set-cookie' || isForeignCookie(value, policy.names)) out.push(name, value);
    } else {
      for (const one of value) if (name !== 'set-cookie' || isForeignCookie(one, policy.names)) out.push(name, one);
    }
  }
  for (const cookie of cookies) out.push('set-cookie', cookie);
  if (policy.authenticated) pushPersonalCaching(out, caching, cookies.length > 0);
  return out;
}

/** The headers of an interim response (1xx, RFC 9110 15.2): the same policy, and no cookies, which are the final one's. */
export function interimHeaders(headers: IncomingHttpHeaders): string[] {
  const nominated = nominatedBy(headers.connection);
  const out: string[] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (!isForwardable(name) || name === 'set-cookie' || nominated?.has(name) === true) continue;
    for (const one of [value].flat()) if (one !== undefined) out.push(name, one);
  }
  return out;
}

/** What frames, routes or guards a message comes too late in a trailer (RFC 9110 6.5.1). */
const forbiddenTrailers = new Set(
  words(`
    age authorization cache-control content-encoding content-length content-range content-type date expires host
    location pragma retry-after vary www-authenticate
  `),
);

/** Which of the field names in a `Trailer` header may come; undefined where none. */
export function announcedTrailers(trailer: string): string | undefined {
  const names = trailer.split(',').map((name) => name.trim());
  const kept = names.filter((name) => isAllowedTrailer(name.toLowerCase()));
  return kept.length === 0 ? undefined : kept.join(', ');
}

/** The trailer fields that pass, as the client's response takes them. */
export function trailerFields(trailers: IncomingHttpHeaders): Record<string, string | string[]> {
  const kept: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(trailers)) {
    if (value !== undefined && isAllowedTrailer(name)) kept[name] = value;
  }
  return kept;
}

function isAllowedTrailer(name: string): boolean {
  return isForwardable(name) && name !== 'set-cookie' && !forbiddenTrailers.has(name);
}

function isForwardable(name: string): boolean {
  return !responseDropped.has(name) && !isOfDroppedFamily(name);
}

/** Families that grow: CORS, and device-bound sessions, which are registered for a whole site. */
function isOfDroppedFamily(name: string): boolean {
  return name.startsWith('access-control-') || name.startsWith('secure-session-') || name.startsWith('sec-session-');
}

/** Whether a `Set-Cookie` is for a cookie of the API's own. None sets or clears one of ours. */
function isForeignCookie(setCookie: string, names: CookieNames): boolean {
  // A nameless cookie is sent as its value alone, which then reads as a pair.
  const [name = ''] = setCookie.replace(/^[\s=]+/, '').split(/[=;]/, 1);
  return !isOwnCookie(name.trim(), names);
}

/** `Cache-Control`, its targeted forms (RFC 9213), what CDNs take for it, and what chooses among stored answers. */
function isAboutCaching(name: string): boolean {
  return name === 'vary' || name.endsWith('cache-control') || toSharedCaches.has(name);
}

/** These speak to shared caches alone, and can't say `private`. */
const toSharedCaches = new Set(['surrogate-control', 'x-accel-expires', 'edge-control']);

type CachingHeaders = ReadonlyMap<string, readonly string[]>;

/**
 * A shared cache keeps no answer to a request with `Authorization` unless the API says that it may (RFC 9111 3.5), and
 * `Vary: Authorization` keeps people's answers apart. On this side there is a cookie instead: both must be said anew.
 * @param setsCookies whether the answer sets the session cookie: then nobody keeps it, whatever the API says
 */
function pushPersonalCaching(out: string[], caching: CachingHeaders | undefined, setsCookies: boolean): void {
  const cacheControl = caching?.get('cache-control');
  if (cacheControl === undefined || setsCookies) out.push('cache-control', 'no-store');
  if (caching === undefined) return;
  pushVary(out, caching.get('vary') ?? []);
  if (setsCookies) return;
  const directives = cacheControl === undefined ? undefined : directivesOf(cacheControl);
  const isPublic = directives?.has('public') === true || directives?.has('s-maxage') === true;
  for (const [name, values] of caching) {
    if (name.endsWith('cache-control')) pushEach(out, name, withPrivate(values));
    else if (name !== 'vary' && isPublic) pushEach(out, name, values);
  }
}

function pushEach(out: string[], name: string, values: readonly string[]): void {
  for (const value of values) out.push(name, value);
}

/** @returns the values, with `private` where they don't say more themselves */
function withPrivate(values: readonly string[]): readonly string[] {
  const directives = directivesOf(values);
  if (isShareable(directives) || directives.has('private') || directives.has('no-store')) return values;
  // In front: a quotation mark that the API left open would swallow it at the end. Of a directive that stands twice some
  // caches take the last (RFC 9111 4.2.1): what is private in part is so as a whole.
  const kept = values.map((value) => value.replace(qualifiedPrivate, '').replace(/^[\s,]+/, ''));
  const [first = '', ...rest] = kept.filter((value, index) => index === 0 || value !== '');
  return [first === '' ? 'private' : `private, ${first}`, ...rest];
}

const qualifiedPrivate = /(?<=^|,)\s*private\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^,]*)/gi;

function isShareable(directives: ReadonlySet<string>): boolean {
  return directives.has('public') || directives.has('s-maxage') || directives.has('must-revalidate');
}

/**
 * Directive names in lower case. `private="field"` is about that field alone (RFC 9111 5.2.2.7), and `public=?0` says no
 * (RFC 9213 2.1): what takes no argument doesn't count with one.
 */
function directivesOf(values: readonly string[]): Set<string> {
  const found = new Set<string>();
  const members = values.join(', ').match(/(?:[^,"]|"(?:[^"\\]|\\.)*"|")+/g) ?? [];
  for (const member of members) {
    const [, name = '', argument] = /^\s*([^\s=]+)\s*(=.*)?$/s.exec(member) ?? [];
    if (argument === undefined || name.toLowerCase() === 's-maxage') found.add(name.toLowerCase());
  }
  return found;
}

function pushVary(out: string[], values: readonly string[]): void {
  const members = values.flatMap((value) => value.split(',')).map((member) => member.trim());
  const others = members.filter((member) => member !== '' && !/^(?:authorization|cookie)$/i.test(member));
  if (!members.some((member) => member.toLowerCase() === 'authorization')) pushEach(out, 'vary', values);
  else out.push('vary', [...others, 'Cookie'].join(', '));
}

/** The headers that Connection headers name (RFC 9110 7.6.1); undefined in the usual cases of none. */
function nominatedBy(connection: string | readonly string[] | undefined): ReadonlySet<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined;
  return new Set(
    // undici makes a list of a header that stands more than once, whatever the type says.
    String(connection)
      .toLowerCase()
      .split(',')
      .map((name) => name.trim()),
  );
}

function words(list: string): string[] {
  return list.trim().split(/\s+/);
}

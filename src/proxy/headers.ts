/**
 * The one header policy, for both directions, for HTTP and for WebSocket upgrades. What describes a connection stays on
 * it (RFC 9110 7.6.1); what the client says about who it is or where it came from is its own word and never passes.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { CookieNames } from '../session/cookies.ts';

/** About one connection: never forwarded in either direction. */
const hopByHop = words(`
  connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer
  transfer-encoding upgrade http2-settings proxy-status
`);

/** Set afresh by us or by the HTTP client, or no business of the API. */
const ownToSet = words(`
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
`);

const requestDropped = new Set([...hopByHop, ...ownToSet, ...identity]);
const responseDropped = new Set([
  ...hopByHop,
  // Alternative services and clearing site data are said for a whole origin, which is ours and not the API's.
  'alt-svc',
  'clear-site-data',
]);

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
  let cacheable = !policy.authenticated;
  for (const name in headers) {
    if (responseDropped.has(name) || nominated?.has(name) === true) continue;
    // We answer for the origin, and grant no other origin anything.
    if (name.startsWith('access-control-')) continue;
    const value = headers[name];
    if (value === undefined) continue;
    if (name === 'cache-control') cacheable = true;
    if (typeof value === 'string') {
      if (name !== 'set-cookie' || mayPass(value, policy.names)) out.push(name, value);
    } else {
      for (const one of value) if (name !== 'set-cookie' || mayPass(one, policy.names)) out.push(name, one);
    }
  }
  if (cookies.length > 0) {
    for (const cookie of cookies) out.push('set-cookie', cookie);
    return withNoStore(out);
  }
  if (!cacheable) out.push('cache-control', 'no-store');
  return out;
}

/** The headers of an interim response (1xx, RFC 9110 15.2): the same policy, and no cookies, which are the final one's. */
export function interimHeaders(headers: IncomingHttpHeaders): string[] {
  const nominated = nominatedBy(headers.connection);
  const out: string[] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (!mayStandAlone(name) || nominated?.has(name) === true) continue;
    for (const one of [value].flat()) if (one !== undefined) out.push(name, one);
  }
  return out;
}

/** What frames, routes or guards a message comes too late in a trailer (RFC 9110 6.5.1). */
const neverTrailers = new Set(
  words(`
    age authorization cache-control content-encoding content-length content-range content-type date expires host
    location pragma retry-after vary www-authenticate
  `),
);

/** Which of the field names in a `Trailer` header may come; undefined where none. */
export function announcedTrailers(trailer: string): string | undefined {
  const names = trailer.split(',').map((name) => name.trim());
  const kept = names.filter((name) => mayTrail(name.toLowerCase()));
  return kept.length === 0 ? undefined : kept.join(', ');
}

/** The trailer fields that pass, as the client's response takes them. */
export function trailerFields(trailers: IncomingHttpHeaders): Record<string, string | string[]> {
  const kept: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(trailers)) {
    if (value !== undefined && mayTrail(name)) kept[name] = value;
  }
  return kept;
}

function mayTrail(name: string): boolean {
  return mayStandAlone(name) && !neverTrailers.has(name);
}

function mayStandAlone(name: string): boolean {
  return !responseDropped.has(name) && name !== 'set-cookie' && !name.startsWith('access-control-');
}

/** `Cache-Control`, its targeted forms (RFC 9213), and what CDNs take for it. */
function isCachePolicy(name: string): boolean {
  return name.endsWith('cache-control') || name === 'surrogate-control' || name === 'x-accel-expires';
}

/** A response that sets our session must be kept by nobody, whatever the API says. */
function withNoStore(headers: string[]): string[] {
  const out: string[] = [];
  for (let index = 0; index < headers.length; index += 2) {
    if (!isCachePolicy(headers[index] as string)) out.push(headers[index] as string, headers[index + 1] as string);
  }
  out.push('cache-control', 'no-store');
  return out;
}

/** No API sets or clears a cookie of ours, not even by a nameless one, which is sent as if its value were the pair. */
function mayPass(setCookie: string, names: CookieNames): boolean {
  const pair = setCookie.replace(/^[\s=]+/, '').toLowerCase();
  return !['__host-http-', names.session, names.loginPrefix, names.logout].some((own) =>
    pair.startsWith(own.toLowerCase()),
  );
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

/**
 * The one header policy, for both directions, for HTTP and for WebSocket upgrades. Headers that describe a connection
 * stay on it (RFC 9110 7.6.1). Headers in which a client states its own identity or origin never pass.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { createNameMatcher, foldedName, isIdentityHeader } from '../http/identity-headers.ts';
import { isOwnCookie, type CookieNames } from '../session/cookies.ts';
import { isCachingHeader, pushPrivateCaching } from './caching-headers.ts';
import type { RouteCookies } from './route-cookies.ts';

/** Headers about one connection: not forwarded in either direction. */
const hopByHop = words(`
  connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer
  transfer-encoding upgrade http2-settings proxy-status
`);

/** Set anew by Sallyport or by undici, or not meant for the API. */
const setByProxy = words(`
  host content-length expect authorization dpop cookie cookie2 x-csrf
`);

/** About the whole origin, which isn't the API's: its transport, storage, reporting, workers, client hints. */
const originHeaders = words(`
  strict-transport-security public-key-pins public-key-pins-report-only expect-ct alt-svc clear-site-data
  nel report-to reporting-endpoints origin-agent-cluster accept-ch accept-ch-lifetime critical-ch service-worker-allowed
  set-login idp-signin-status use-as-dictionary supports-loading-mode activate-storage-access speculation-rules
  shared-storage-write observe-browsing-topics
`);

/** Between an API and its client, which Sallyport is (RFC 9449 8.2). */
const clientHeaders = words('dpop-nonce');

/** Commands for a server in front of Sallyport, to send a file or another of its addresses instead of the response. */
const frontServerCommands = words(`
  x-accel-redirect x-sendfile x-litespeed-location x-reproxy-url
`);

/** Grants to other origins; Sallyport makes none. */
const crossOriginGrants = words('timing-allow-origin x-permitted-cross-domain-policies');

const requestDropped = new Set([...hopByHop, ...setByProxy]);
const responseDropped = new Set([
  ...hopByHop,
  ...originHeaders,
  ...clientHeaders,
  ...frontServerCommands,
  ...crossOriginGrants,
]);

const maximumDecisions = 2000;
const maximumCachedName = 64;

/** The headers that Sallyport sets on a request to an upstream. */
export interface OwnHeaders {
  readonly host: string;
  readonly forwardedFor: string;
  readonly forwardedHost: string;
  readonly forwardedProto: string;
  /** The public path of what the upstream calls its root; '' for none. */
  readonly forwardedPrefix?: string;
  /** The lines that carry the token: a flat list of names and values. */
  readonly credentials: readonly string[];
  /** Value of `Cookie`. */
  readonly cookie?: string | undefined;
}

/** The parts of {@link OwnHeaders} that follow from the app's public origin. */
export function forwardedOrigin(origin: string): Pick<OwnHeaders, 'forwardedHost' | 'forwardedProto'> {
  const { host, protocol } = new URL(origin);
  return { forwardedHost: host, forwardedProto: protocol.slice(0, -1) };
}

/** Which of the client's headers a route drops, and which names of {@link isIdentityHeader} it keeps. */
export interface RequestPolicy {
  readonly dropHeaders: readonly string[];
  readonly keepHeaders: readonly string[];
}

/** Makes the headers of upstream requests. */
export function createRequestHeaders(policy: RequestPolicy = { dropHeaders: [], keepHeaders: [] }) {
  const drops = createNameMatcher(policy.dropHeaders);
  const keeps = createNameMatcher(policy.keepHeaders);
  /**
   * Decisions by name as spelled: comparing a browser's 14 names at each call costs 4 us and more. Bounded,
   * because clients choose the names.
   */
  const decisions = new Map<string, boolean>();

  function passesUpstream(name: string): boolean {
    const cached = decisions.get(name);
    if (cached !== undefined) return cached;
    const folded = foldedName(name);
    const decision = !requestDropped.has(folded) && !drops(folded) && (keeps(folded) || !isIdentityHeader(folded));
    if (decisions.size < maximumDecisions && name.length <= maximumCachedName) decisions.set(name, decision);
    return decision;
  }

  /**
   * @param raw the client's headers, unchanged: a flat list of names and values
   * @returns a flat list, too
   */
  return function requestHeaders(raw: readonly string[], connection: string | undefined, own: OwnHeaders): string[] {
    const nominated = nominatedBy(connection);
    const headers = ['host', own.host];
    for (let index = 0; index < raw.length; index += 2) {
      const name = raw[index] as string;
      if (!passesUpstream(name) || nominated?.has(name.toLowerCase()) === true) continue;
      headers.push(name, raw[index + 1] as string);
    }
    headers.push('x-forwarded-for', own.forwardedFor, 'x-forwarded-host', own.forwardedHost);
    headers.push('x-forwarded-proto', own.forwardedProto);
    if (own.forwardedPrefix) headers.push('x-forwarded-prefix', own.forwardedPrefix);
    headers.push(...own.credentials);
    if (own.cookie !== undefined) headers.push('cookie', own.cookie);
    return headers;
  };
}

/** Which response headers are dropped or changed, besides those that never pass. */
export interface ResponsePolicy {
  readonly names: CookieNames;
  /** The response is for one person. Caches on the way see no `Authorization`, so the response must say it. */
  readonly authenticated: boolean;
  /** Cookies of the API that come back to it; undefined on a route without any. */
  readonly cookies?: RouteCookies | undefined;
}

/** The headers of the response to the client, as a flat list; `cookies` are Sallyport's `Set-Cookie` lines. */
export function responseHeaders(
  headers: IncomingHttpHeaders,
  policy: ResponsePolicy,
  cookies: readonly string[],
): string[] {
  const nominated = nominatedBy(headers.connection);
  const out: string[] = [];
  let caching: Map<string, readonly string[]> | undefined;
  for (const name in headers) {
    if (!isForwardableToClient(name) || nominated?.has(name) === true) continue;
    const value = headers[name];
    if (value === undefined) continue;
    if (policy.authenticated && isCachingHeader(name)) {
      caching ??= new Map();
      caching.set(name, [value].flat());
    } else if (typeof value === 'string') {
      if (name === 'set-cookie') pushForeignCookie(out, value, policy);
      else out.push(name, value);
    } else {
      for (const one of value) {
        if (name === 'set-cookie') pushForeignCookie(out, one, policy);
        else out.push(name, one);
      }
    }
  }
  for (const cookie of cookies) out.push('set-cookie', cookie);
  if (policy.authenticated) pushPrivateCaching(out, caching, cookies.length > 0);
  return out;
}

/** The headers of an interim response (1xx, RFC 9110 15.2): the same policy, but no cookies; the final response has them. */
export function interimHeaders(headers: IncomingHttpHeaders): string[] {
  const nominated = nominatedBy(headers.connection);
  const out: string[] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (!isForwardableToClient(name) || name === 'set-cookie' || nominated?.has(name) === true) continue;
    for (const one of [value].flat()) if (one !== undefined) out.push(name, one);
  }
  return out;
}

/** Fields that control framing, routing or authentication must not arrive in a trailer (RFC 9110 6.5.1). */
const forbiddenTrailers = new Set(
  words(`
    age authorization cache-control content-encoding content-length content-range content-type date expires host
    location pragma retry-after vary www-authenticate
  `),
);

/** The field names of a `Trailer` header that are forwarded; undefined if there are none. */
export function announcedTrailers(trailer: string): string | undefined {
  const names = trailer.split(',').map((name) => name.trim());
  const allowed = names.filter((name) => isAllowedTrailer(name.toLowerCase()));
  return allowed.length === 0 ? undefined : allowed.join(', ');
}

/** The trailer fields that are forwarded, in the form that `addTrailers` takes. */
export function trailerFields(trailers: IncomingHttpHeaders): Record<string, string | string[]> {
  const allowed: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(trailers)) {
    if (value !== undefined && isAllowedTrailer(name)) allowed[name] = value;
  }
  return allowed;
}

function isAllowedTrailer(name: string): boolean {
  return isForwardableToClient(name) && name !== 'set-cookie' && !forbiddenTrailers.has(name);
}

function isForwardableToClient(name: string): boolean {
  return !responseDropped.has(name) && !hasDroppedPrefix(name);
}

/** Families that still grow: CORS, and device-bound sessions, which are registered for a whole site. */
function hasDroppedPrefix(name: string): boolean {
  return name.startsWith('access-control-') || name.startsWith('secure-session-') || name.startsWith('sec-session-');
}

/** Passes on a `Set-Cookie` of the API that sets or clears a cookie of the API's own, and none of Sallyport's. */
function pushForeignCookie(out: string[], setCookie: string, { names, cookies }: ResponsePolicy): void {
  // A nameless cookie counts, because browsers send its value alone, which then reads as a pair.
  const [name = ''] = setCookie.replace(/^[\s=]+/, '').split(/[=;]/, 1);
  if (isOwnCookie(name.trim(), names)) return;
  out.push('set-cookie', cookies === undefined ? setCookie : cookies.toBrowser(setCookie));
}

/** The headers that a Connection header names (RFC 9110 7.6.1); undefined in the usual cases, which name none. */
function nominatedBy(connection: string | readonly string[] | undefined): ReadonlySet<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined;
  return new Set(
    // undici turns a repeated header into a list, which its types don't say.
    String(connection)
      .toLowerCase()
      .split(',')
      .map((name) => name.trim()),
  );
}

function words(list: string): string[] {
  return list.trim().split(/\s+/);
}

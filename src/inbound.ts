/**
 * May this request be believed? Origin and fetch metadata (W3C Fetch Metadata), trusted proxies, and where a browser
 * may be sent. Everything here works on what a stranger sent, before any session is opened.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP } from 'node:net';
import type { Config } from './config.ts';
import { BffError } from './errors.ts';
import { isWithin } from './paths.ts';

/**
 * Demands that a call comes from the app's own origin (CSRF). `SameSite=Strict` alone is no defence: sibling subdomains
 * send the cookie. A page of another origin can't forge `Sec-Fetch-Site` or `Origin`, and can't send `X-CSRF` without a
 * preflight, which is never approved.
 * @param acceptsNavigations whether a GET that no page caused will do, as of a bookmark (`Sec-Fetch-Site: none`). It
 *   proves no origin: browsers say so, too, of a typed address that another site redirects here
 * @throws {BffError} `request_forbidden`
 */
export function demandOwnOrigin(
  method: string,
  headers: IncomingHttpHeaders,
  config: Config,
  acceptsNavigations = false,
): void {
  const site = headers['sec-fetch-site'];
  if (headers.origin !== undefined && headers.origin !== config.origin) {
    throw forbidden('The call comes from another origin.');
  }
  const csrfHeader = headers['x-csrf'] === '1';
  if (site === undefined) {
    // Not a browser of today, or not a browser: the header is what a foreign page can't send.
    if (!csrfHeader) throw forbidden('Send the header "X-CSRF: 1", or use a browser that sends Sec-Fetch-Site.');
    return;
  }
  const isOwnNavigation = site === 'none' && acceptsNavigations && (method === 'GET' || method === 'HEAD');
  // A sibling subdomain's speculation rules fetch ahead without a click, and with `none`.
  if (site !== 'same-origin' && !(isOwnNavigation && !isPrefetch(headers))) {
    throw forbidden(`The call comes from elsewhere (Sec-Fetch-Site: ${site}).`);
  }
  if (config.csrf.requireHeader && !csrfHeader) throw forbidden('Send the header "X-CSRF: 1" with every call.');
}

function forbidden(detail: string): BffError {
  return new BffError('request_forbidden', detail);
}

function isPrefetch(headers: IncomingHttpHeaders): boolean {
  return headers['sec-purpose'] !== undefined || headers['purpose'] === 'prefetch';
}

/** Whether a person navigates a tab or window there: not a fetch, a prefetch, an image or a frame. */
export function isNavigation(headers: IncomingHttpHeaders): boolean {
  if (isPrefetch(headers)) return false;
  const mode = headers['sec-fetch-mode'];
  if (mode === undefined) return headers.accept?.includes('text/html') === true;
  const destination = headers['sec-fetch-dest'];
  return mode === 'navigate' && (destination === undefined || destination === 'document');
}

/** Whether the headers rule a navigation out: what ends a sign-in or a session must not be done ahead or in a frame. */
export function isNoNavigation(headers: IncomingHttpHeaders): boolean {
  return isPrefetch(headers) || (headers['sec-fetch-mode'] !== undefined && !isNavigation(headers));
}

/** Of a `returnTo` as it was given, and in the URL parser's spelling: a letter of another script takes nine characters. */
const maximumReturnToLength = 2048;
const maximumEncodedLength = 3072;

/**
 * A `returnTo` as a path, query and fragment of the app, in the URL parser's own spelling; undefined for whatever a
 * browser could take for anything else. What the check saw is what is used.
 */
export function parseReturnTo(value: string, config: Pick<Config, 'origin' | 'basePath' | 'api'>): string | undefined {
  if (value.length > maximumReturnToLength || !value.startsWith('/')) return undefined;
  // Browsers strip tabs and line ends and read "\" as "/": none of them has a place in a path that we made.
  if (/[^\x21-\x7e\u00a1-\uffff]|\\/.test(value) || /^\/(?:\/|%2f|%5c)/i.test(value)) return undefined;
  if (!URL.canParse(value, config.origin)) return undefined;
  const url = new URL(value, config.origin);
  if (url.origin !== config.origin || url.username !== '' || url.password !== '') return undefined;
  // "/./" and "/.//" shrink to "/" and "//": after parsing, the path must still not look like a host.
  const path = `${url.pathname}${url.search}${url.hash}`;
  if (/^\/(?:[/\\]|%2f|%5c)/i.test(path) || path.length > maximumEncodedLength) return undefined;
  return isAppPath(path, config) ? path : undefined;
}

/**
 * Whether a path is the app's, and not an API's or Sallyport's own. Our navigations start on this site and so bring the
 * session along: one into an API would be a call that another site had us make, one into our endpoints a loop.
 */
export function isAppPath(path: string, { basePath, api }: Pick<Config, 'basePath' | 'api'>): boolean {
  const decoded = path.replace(/[?#].*$/s, '').replace(/%[0-7][0-9a-f]/gi, (escape) => decodeURIComponent(escape));
  return ![basePath, ...api.map((route) => route.path)].some((prefix) => isWithin(decoded, prefix));
}

/** Where a request really came from. */
export interface ClientAddress {
  readonly address: string;
  /** What is to be sent upstream as `X-Forwarded-For`. */
  readonly chain: string;
}

/**
 * Reads forwarded headers from the configured proxies only: from anybody else they are that stranger's own words.
 */
export function createAddressReader(trustedProxies: readonly string[]) {
  const trusted = new BlockList();
  for (const entry of trustedProxies) {
    const [address = '', prefix] = entry.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (prefix === undefined) trusted.addAddress(address, family);
    else trusted.addSubnet(address, Number(prefix), family);
  }
  const isTrusted = (address: string) =>
    isIP(address) !== 0 && trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

  return (peer: string | undefined, forwarded: string | string[] | undefined): ClientAddress => {
    const address = plainAddress(peer ?? '');
    if (trustedProxies.length === 0 || forwarded === undefined || !isTrusted(address))
      return { address, chain: address };
    const hops = String(forwarded)
      .split(',')
      .map((hop) => plainAddress(hop.trim()));
    // From the right: the first hop that isn't one of our proxies is the client, all before it is its own claim.
    const at = hops.findLastIndex((hop) => !isTrusted(hop));
    const kept = hops.slice(Math.max(0, at)).filter((hop) => isIP(hop) !== 0);
    return { address: kept[0] ?? address, chain: [...kept, address].join(', ') };
  };
}

function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}

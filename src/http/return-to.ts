/** Where a browser may be sent after a login: to a path of the app, on its own origin, and nowhere else. */
import type { Config } from '../config/config.ts';
import { isWithin } from './paths.ts';

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

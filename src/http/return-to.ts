/** Where a browser may be sent after a login: to a path of the app, on its own origin (open redirects, RFC 9700 4.11). */
import type { Config } from '../config/config.ts';
import { isWithin } from './paths.ts';

/** The limits of a `returnTo` as received, and as the URL parser writes it: a letter of another script takes nine characters. */
const maximumReturnToLength = 2048;
const maximumEncodedLength = 3072;

/**
 * Parses `returnTo` to a path, query and fragment on this origin, as the URL parser writes it; undefined for anything that
 * a browser could resolve to another origin. Callers must use the returned text: it is the text that was checked.
 */
export function parseReturnTo(
  value: string,
  config: Pick<Config, 'origin' | 'path' | 'basePath' | 'api'>,
): string | undefined {
  if (value.length > maximumReturnToLength || !value.startsWith('/')) return undefined;
  // Browsers strip tabs and line ends and read "\" as "/". No path of the app holds any of them.
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
 * Whether a path is the app's, and not an API's, Sallyport's own or another app's on the same origin. A redirect from
 * Sallyport starts on this site and so carries the session: into an API it would be a call that another site caused
 * (CSRF), into the endpoints a loop.
 */
export function isAppPath(target: string, { path, basePath, api }: Pick<Config, 'path' | 'basePath' | 'api'>): boolean {
  const decoded = target.replace(/[?#].*$/s, '').replace(/%[0-7][0-9a-f]/gi, (escape) => decodeURIComponent(escape));
  const reserved = [basePath, ...api.map((route) => route.path)];
  return isWithin(decoded, path) && !reserved.some((prefix) => isWithin(decoded, prefix));
}

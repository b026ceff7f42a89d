/**
 * The cookies that a route lets through in both directions: those of a load balancer before the API's replicas, for
 * example. The browser's other cookies stay here, and Sallyport's own always do.
 */
import { cookiePairs, isOwnCookie, type CookieNames } from '../session/cookies.ts';
import type { PublicAddresses } from './public-addresses.ts';

export interface RouteCookies {
  /** The value of the `Cookie` header for the API; undefined if none of the browser's cookies passes. */
  readonly toApi: (header: string | undefined) => string | undefined;
  /** A `Set-Cookie` line of the API, with path and domain as the browser needs them. */
  readonly toBrowser: (setCookie: string) => string;
}

/** @returns undefined for a route that lets none pass */
export function createRouteCookies(
  allowed: readonly string[],
  own: CookieNames,
  { addresses, target, publicHost }: { addresses: PublicAddresses; target: URL; publicHost: string },
): RouteCookies | undefined {
  const names = new Set(allowed.filter((name) => !isOwnCookie(name, own)));
  if (names.size === 0) return undefined;

  function toBrowser(setCookie: string): string {
    const [pair = '', ...attributes] = setCookie.split(';');
    if (!names.has(pair.slice(0, Math.max(pair.indexOf('='), 0)).trim())) return setCookie;
    return [pair, ...attributes.flatMap(mapAttribute)].join(';');
  }

  /** @returns the attribute; nothing if the browser would reject the cookie for it */
  function mapAttribute(attribute: string): string[] {
    // By the end of its name and not by one expression, which takes a second for 30,000 blanks.
    const end = attribute.indexOf('=');
    if (end === -1) return [attribute];
    const [name, value] = [attribute.slice(0, end).trim(), attribute.slice(end + 1).trim()];
    if (name.toLowerCase() === 'domain') return isInside(value) ? [] : [attribute];
    // "/" stays: scripts of the app may read the cookie, and some names must have it (RFC 6265bis 4.1.3.2).
    const isPath = name.toLowerCase() === 'path' && value.startsWith('/') && value !== '/';
    return [isPath ? ` Path=${addresses.publicPath(value, true) ?? value}` : attribute];
  }

  /** Whether a domain is the API's own, or one above it, and not also the app's. */
  function isInside(domain: string): boolean {
    return covers(domain, target.hostname) && !covers(domain, new URL(`http://${publicHost}`).hostname);
  }

  return {
    toApi(header) {
      if (header === undefined) return undefined;
      let passing: string | undefined;
      for (const [name, value] of cookiePairs(header)) {
        if (names.has(name)) passing = `${passing === undefined ? '' : `${passing}; `}${name}=${value}`;
      }
      return passing;
    },
    toBrowser,
  };
}

/** Whether a cookie's `Domain` matches a host (RFC 6265bis 5.1.3). */
function covers(domain: string, host: string): boolean {
  const folded = domain.toLowerCase().replace(/^\./, '');
  return host === folded || host.endsWith(`.${folded}`);
}

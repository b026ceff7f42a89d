/**
 * The app has one address. A person who opened it by another name of the same server (`127.0.0.1` for `localhost`, `www.`,
 * an old domain) would sign in there, and come back from the provider without the cookies. The browser is sent to the
 * configured origin first.
 *
 * The `Host` that arrives decides only that. Behind a proxy that writes its own name of this server into `Host`, as nginx
 * does by default, the browser is at the origin already: a redirect must not come again and again.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Config } from '../config/config.ts';
import { isLoopback } from '../config/rules.ts';
import { createAddressMark } from './address-mark.ts';
import { isNavigation } from './navigation.ts';

/**
 * Marks an address to which a browser was sent from another name. Where such a request still has another `Host`, a proxy
 * wrote it. The app sees it only behind such a proxy.
 */
const moved = createAddressMark('sallyport_moved');

/** Headers in which proxies tell the `Host` that they replaced. Anybody can send them: they only prevent a redirect. */
const originalHosts = ['x-forwarded-host', 'x-original-host', 'forwarded'];

/** @returns of a request by another name: where the browser is sent; undefined for any other */
export function createHostRedirect({ origin }: Pick<Config, 'origin'>) {
  const own = new URL(origin);

  /** @param target path and query, as they were sent */
  return function redirectToOrigin(method: string, headers: IncomingHttpHeaders, target: string): string | undefined {
    if ((method !== 'GET' && method !== 'HEAD') || !target.startsWith('/')) return undefined;
    const { host } = headers;
    const isMarked = moved.isOn(target);
    if (host === undefined || (host === own.host && !isMarked) || !isNavigation(headers)) return undefined;
    const given = parseHost(host, own.protocol);
    if (given?.host === own.host) return isMarked ? origin + moved.remove(target) : undefined;
    if (isMarked || given === undefined || !isOtherName(given, headers)) return undefined;
    return origin + (isTwin(given) ? target : moved.add(target));
  };

  /** Whether a person can have opened the app by this name. Proxies mostly write one that only they know. */
  function isOtherName({ hostname, port }: URL, headers: IncomingHttpHeaders): boolean {
    if (port !== own.port || originalHosts.some((name) => String(headers[name] ?? '').includes(own.host))) return false;
    // Another machine's browser must not be sent to a service of that machine.
    if (isLoopback(own.hostname)) return isLoopback(hostname);
    return hostname.includes('.') && !/^[\d.]+$/.test(hostname) && !isLoopback(hostname);
  }

  /**
   * Whether the name is so much like the own one that a person, and no proxy, wrote it: a proxy that passed requests on to
   * that name, at the same port, would get its own ones.
   */
  function isTwin({ hostname }: URL): boolean {
    return isLoopback(hostname) || withoutWww(hostname) === withoutWww(own.hostname);
  }
}

/** The name and port of a `Host` header as URLs have them: in lower case, without the default port. */
function parseHost(host: string, protocol: string): URL | undefined {
  if (!/^(?:[\w.-]+|\[[\da-f:.]+\])(?::\d+)?$/i.test(host)) return undefined;
  const url = `${protocol}//${host}`;
  return URL.canParse(url) ? new URL(url) : undefined;
}

function withoutWww(hostname: string): string {
  return hostname.replace(/^www\./, '');
}

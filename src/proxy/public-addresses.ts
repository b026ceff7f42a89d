/**
 * Addresses in an API's response, from where the API believes to be to where the browser reaches it. An API that knows
 * nothing of its prefix redirects to `http://127.0.0.1:9100/v1/items/` or `/v1/items/`; the browser needs `/api/items/`.
 * Only what leads to the route's target is mapped. An address is read as browsers read it (WHATWG URL), so that none that
 * leads elsewhere is taken for one of these, or made of one.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { isWithin } from '../http/paths.ts';

/** Where an API is, and where the browser reaches it. */
export interface Placement {
  /** The public prefix, without a slash at its end. */
  readonly path: string;
  readonly target: URL;
  /** The API takes the public host for its own. */
  readonly preserveHost: boolean;
}

export type PublicAddresses = ReturnType<typeof createPublicAddresses>;

/** @param origin the app's public origin */
export function createPublicAddresses({ path, target, preserveHost }: Placement, origin: string) {
  const publicHost = new URL(origin).host;
  const targetPath = target.pathname.replace(/\/$/, '');
  const forwardedPrefix = addedPrefix(path, targetPath);
  /** How an API that heeds `X-Forwarded-Prefix` writes its own paths. */
  const prefixed = forwardedPrefix + targetPath;

  /**
   * The public path of a path at the API; undefined if it isn't the target's.
   * @param isOwnHost whether the host that stood with it is one that only the API itself can mean
   */
  function publicPath(pathname: string, isOwnHost: boolean): string | undefined {
    if (targetPath === '') {
      if (isWithin(pathname, path)) return pathname;
      return isOwnHost ? path + pathname : undefined;
    }
    if (isWithin(pathname, prefixed)) return path + pathname.slice(prefixed.length);
    return isWithin(pathname, targetPath) ? path + pathname.slice(targetPath.length) : undefined;
  }

  /** The scheme isn't compared: behind TLS that others terminate, APIs take either for their own. */
  function mapAddress(address: string): string {
    if (!leadsSomewhere.test(address)) return address;
    const url = URL.parse(escapeBytes(address), target.href);
    const isTargets = url?.host === target.host;
    if (url === null || !(isTargets || url.host === publicHost)) return address;
    const mapped = publicPath(url.pathname, isTargets || preserveHost);
    // "//" begins a host.
    return mapped === undefined || mapped.startsWith('//') ? address : mapped + url.search + url.hash;
  }

  const maps: Readonly<Record<AddressHeader, (value: string) => string>> = {
    location: mapAddress,
    'content-location': mapAddress,
    link: (value) =>
      value.replace(linkTarget, (part, address?: string) => (address ? `<${mapAddress(address)}>` : part)),
    refresh: (value) =>
      value.replace(refreshTarget, (_, before: string, address: string) => before + mapAddress(address)),
  };

  /** The response's headers with public addresses; the same object if it names none. */
  function mapHeaders(headers: IncomingHttpHeaders): IncomingHttpHeaders {
    let mapped: Record<string, string | string[] | undefined> | undefined;
    for (const name of addressHeaders) {
      const value = headers[name];
      if (value === undefined) continue;
      mapped ??= { ...headers };
      mapped[name] = Array.isArray(value) ? value.map(maps[name]) : maps[name](value);
    }
    return mapped ?? headers;
  }

  return {
    /** For `X-Forwarded-Prefix`: what stands before the API's own paths. '' if they are the public ones. */
    forwardedPrefix,
    publicPath,
    mapHeaders,
  };
}

const addressHeaders = ['location', 'content-location', 'link', 'refresh'] as const;
type AddressHeader = (typeof addressHeaders)[number];

/** An address with a host, or a path from the root on. Relative to the request's own path, both sides agree. */
const leadsSomewhere = /^(?:https?:)?\//i;

/** The address of a link (RFC 8288 3), and quoted texts, which may hold angle brackets as well. */
const linkTarget = /"(?:[^"\\]|\\.)*"?|<([^<>]*)>/g;

/** Of `Refresh`: what stands before the address, and the address (HTML 4.2.5.3). */
const refreshTarget = /^([\d.\s]*[;,]\s*(?:url\s*=\s*)?["']?)([^"']*)/i;

/** What is before the API's paths in the public ones. Where the two end differently, the whole public prefix. */
function addedPrefix(path: string, targetPath: string): string {
  return targetPath !== '' && path.endsWith(targetPath) ? path.slice(0, -targetPath.length) : path;
}

/** Bytes beyond ASCII came as Latin-1, and stand for themselves (WHATWG Encoding 4.2). */
function escapeBytes(address: string): string {
  return address.replace(/[\u0080-\u00ff]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase()}`);
}

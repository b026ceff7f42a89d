/**
 * By what a person recognises a browser of theirs in a list: its name, the system that it runs on, and the network of its
 * address. Coarse on purpose: it is kept for as long as a session, so it must not tell one device from another.
 */
import { isIPv4, isIPv6 } from 'node:net';

/** Longer ones are cut: only the words below are looked for. */
const maximumLength = 512;

/**
 * The product of a browser in `User-Agent`, the more special first, because browsers also name those that they want to be
 * taken for (RFC 9110 10.1.5).
 */
const browsers: ReadonlyArray<readonly [product: RegExp, name: string]> = [
  [/\b(?:Edg|EdgA|EdgiOS|Edge)\//, 'Edge'],
  [/\b(?:OPR|OPT|OPiOS)\//, 'Opera'],
  [/\bSamsungBrowser\//, 'Samsung Internet'],
  [/\b(?:Firefox|FxiOS)\//, 'Firefox'],
  [/\b(?:Chrome|CriOS|Chromium|HeadlessChrome)\//, 'Chrome'],
  [/\bVersion\/.*\bSafari\//, 'Safari'],
];

/** The more special first: Android calls itself a Linux, an iPhone `like Mac OS X`. */
const systems: ReadonlyArray<readonly [word: RegExp, name: string]> = [
  [/\bAndroid\b/, 'Android'],
  [/\biPad\b/, 'iPad'],
  [/\biPhone\b/, 'iPhone'],
  [/\bCrOS\b/, 'ChromeOS'],
  [/\bWindows\b/, 'Windows'],
  [/\bMac OS X\b|\bMacintosh\b/, 'macOS'],
  [/\bLinux\b/, 'Linux'],
];

/**
 * A browser in words such as `Firefox on Windows`. They are always words of this file, and never text of the client.
 * @returns undefined for what is none of the usual browsers, on none of the usual systems
 */
export function describeUserAgent(userAgent: string | undefined): string | undefined {
  const text = (userAgent ?? '').slice(0, maximumLength);
  const browser = nameIn(text, browsers);
  const system = nameIn(text, systems);
  if (browser === undefined) return system === undefined ? undefined : `a browser on ${system}`;
  return system === undefined ? browser : `${browser} on ${system}`;
}

function nameIn(text: string, known: ReadonlyArray<readonly [RegExp, string]>): string | undefined {
  return known.find(([pattern]) => pattern.test(text))?.[1];
}

/**
 * The network of an address, in CIDR notation: the first 24 bits of IPv4 and 48 of IPv6, which is about what a provider
 * assigns to a neighbourhood, or to one site (RFC 6177 2).
 * @returns undefined for what is no address
 */
export function networkOf(address: string): string | undefined {
  if (isIPv4(address)) return `${address.split('.').slice(0, 3).join('.')}.0/24`;
  const [plain = ''] = address.split('%', 1);
  return isIPv6(plain) ? `${firstGroups(plain).join(':')}::/48` : undefined;
}

/** The first three groups, without zeros at the end (RFC 5952 4.2). */
function firstGroups(address: string): readonly string[] {
  // The URL standard writes the same address in one way only.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = head === '' ? [] : head.split(':');
  const missing = tail === undefined ? [] : Array<string>(8 - groups.length - tail.split(':').filter(Boolean).length);
  const first = [...groups, ...missing.fill('0'), ...(tail ?? '').split(':').filter(Boolean)].slice(0, 3);
  return first.slice(0, first.findLastIndex((group) => group !== '0') + 1);
}

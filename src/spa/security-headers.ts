/**
 * The response headers that harden the app's documents and assets: a strict Content Security Policy and what the
 * OWASP Secure Headers Project recommends besides it. They are defaults; every one can be replaced or removed.
 */
import { hash } from 'node:crypto';

/** Response headers by name (any case): a string replaces the default or adds a header, `false` removes a default. */
export type HeaderOverrides = Readonly<Record<string, string | false>>;

/** CSP source expressions (`'sha256-…'`) that let a document's own inline code run, and no other. */
export interface InlineHashes {
  readonly scripts: readonly string[];
  readonly styles: readonly string[];
}

export interface SecurityHeaderOptions {
  /** The app's public origin. HSTS is sent for `https:` only: browsers ignore it on plain HTTP. */
  readonly origin: string;
  readonly headers?: HeaderOverrides | undefined;
  /** From {@link inlineHashes}; without it no inline script or style runs. Unused if the policy is overridden. */
  readonly inline?: InlineHashes | undefined;
}

/** The security headers of one response, names in lower case, with the overrides applied. */
export function securityHeaders(options: SecurityHeaderOptions): readonly (readonly [string, string])[] {
  const headers = new Map([
    ['content-security-policy', contentSecurityPolicy(options.inline)],
    ['x-content-type-options', 'nosniff'],
    ['x-frame-options', 'DENY'],
    ['referrer-policy', 'strict-origin-when-cross-origin'],
    ['cross-origin-opener-policy', 'same-origin'],
    ['cross-origin-resource-policy', 'same-origin'],
    ['permissions-policy', deniedFeatures.map((feature) => `${feature}=()`).join(', ')],
  ]);
  if (new URL(options.origin).protocol === 'https:') {
    headers.set('strict-transport-security', 'max-age=63072000; includeSubDomains');
  }
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    if (value === false) headers.delete(name.toLowerCase());
    else headers.set(name.toLowerCase(), value);
  }
  return [...headers];
}

/**
 * The hashes of a document's inline scripts and styles (CSP 3 6.7.2.2), so that a theme switch or a splash screen written
 * into index.html works under the strict policy. Only for HTML that the app's developers wrote or built, never for HTML
 * that contains a user's input: the hash allows every script that is in the document.
 *
 * Reads tags by pattern and not as a browser does. If the two differ, a hash is missing and the script is blocked; a
 * script that isn't in the document never gets a hash.
 */
export function inlineHashes(html: string): InlineHashes {
  const scripts = new Set<string>();
  const styles = new Set<string>();
  // A browser hashes the parsed text, in which every line end is LF (HTML 13.2.3.5).
  const text = html.replaceAll(/\r\n?/g, '\n');
  for (const [, tag = '', attributes = '', content = ''] of text.matchAll(inlineElement)) {
    if (content === '' || /\ssrc\s*=/i.test(attributes)) continue;
    const source = `'sha256-${hash('sha256', content, 'base64')}'`;
    if (tag.toLowerCase() === 'script') scripts.add(source);
    else styles.add(source);
  }
  return { scripts: [...scripts], styles: [...styles] };
}

const inlineElement = /<(script|style)(\s[^>]*)?>([^]*?)<\/\1/gi;

/** Powerful features, which an app enables with an override of its own. */
const deniedFeatures = [
  'accelerometer',
  'camera',
  'display-capture',
  'geolocation',
  'gyroscope',
  'hid',
  'magnetometer',
  'microphone',
  'midi',
  'payment',
  'serial',
  'usb',
];

function contentSecurityPolicy(inline: InlineHashes = { scripts: [], styles: [] }): string {
  return [
    "default-src 'self'",
    ["script-src 'self'", ...inline.scripts].join(' '),
    ["style-src 'self'", ...inline.styles].join(' '),
    // Bundlers write small images and icon fonts into the stylesheet as data: URLs; neither can run code.
    "img-src 'self' data:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "object-src 'none'",
    // 'none' would break every Angular build, which carries <base href="/">. 'self' still stops a foreign base.
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join('; ');
}

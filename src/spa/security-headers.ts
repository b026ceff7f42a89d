/**
 * The response headers that harden the app's documents and assets: a strict Content Security Policy and what the
 * OWASP Secure Headers Project recommends besides it. They are defaults; every one can be replaced or removed.
 */
import { contentSecurityPolicy, type CspAdditions, type OwnCode } from './content-security-policy.ts';

/** Response headers by name (any case): a string replaces the default or adds a header, `false` removes a default. */
export type HeaderOverrides = Readonly<Record<string, string | false>>;

/** The document's own code is unused if the policy is overridden. */
export interface SecurityHeaderOptions extends OwnCode {
  /** The app's public origin. HSTS is sent for `https:` only: browsers ignore it on plain HTTP. */
  readonly origin: string;
  readonly headers?: HeaderOverrides | undefined;
  readonly csp?: CspAdditions | undefined;
}

/** The security headers of one response, names in lower case, with the overrides applied. */
export function securityHeaders(options: SecurityHeaderOptions): readonly (readonly [string, string])[] {
  const headers = new Map([
    ['content-security-policy', contentSecurityPolicy(options.csp, options)],
    ['x-content-type-options', 'nosniff'],
    ['x-frame-options', 'DENY'],
    ['referrer-policy', 'strict-origin-when-cross-origin'],
    ['cross-origin-opener-policy', 'same-origin'],
    ['cross-origin-resource-policy', 'same-origin'],
    ['permissions-policy', deniedFeatures.map((feature) => `${feature}=()`).join(', ')],
  ]);
  if (new URL(options.origin).protocol === 'https:') {
    // Not for subdomains: what is served there is not known here, and for two years nobody could take it back.
    headers.set('strict-transport-security', 'max-age=63072000');
  }
  // It has no word for other origins, and browsers prefer the policy anyway (CSP 3 6.4.2).
  if (options.csp?.['frame-ancestors'] !== undefined) headers.delete('x-frame-options');
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    if (value === false) headers.delete(name.toLowerCase());
    else headers.set(name.toLowerCase(), value);
  }
  return [...headers];
}

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

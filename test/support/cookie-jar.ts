/**
 * A cookie jar with the rules of RFC 6265bis and of the layered-cookies draft that browsers apply today: host-only and
 * domain cookies, paths, `Secure`, `HttpOnly`, `SameSite`, name prefixes, size limits and expiry.
 */

/**
 * `chromium` ignores the redirect chain for SameSite and treats an unset SameSite as Lax; `firefox` counts every
 * cross-site hop of the chain and treats unset as None; `safari` is like firefox, but drops `Secure` cookies on
 * `http://localhost` and doesn't know the `__Http-` prefixes.
 */
export type BrowserProfile = 'chromium' | 'firefox' | 'safari';

export type SameSite = 'strict' | 'lax' | 'none' | 'unset';

export interface Cookie {
  name: string;
  value: string;
  domain: string;
  hostOnly: boolean;
  path: string;
  secure: boolean;
  httpOnly: boolean;
  sameSite: SameSite;
  /** Milliseconds since the epoch; `Infinity` for session cookies. */
  expiresAt: number;
  createdAt: number;
}

/** How a request stands to the site that it is sent to. */
export type SiteContext =
  /** Everything is sent. */
  | 'same-site'
  /** A cross-site top-level navigation with a safe method: Lax is sent, Strict isn't. */
  | 'cross-site-safe-navigation'
  /** A cross-site top-level navigation with POST. */
  | 'cross-site-unsafe-navigation'
  /** A cross-site subresource, frame or fetch. */
  | 'cross-site-subresource';

const maximumNameAndValueBytes = 4096;
const maximumAttributeBytes = 1024;
const maximumAgeSeconds = 400 * 24 * 3600;
const laxPostSeconds = 120;

export class CookieJar {
  readonly profile: BrowserProfile;
  #cookies: Cookie[] = [];

  constructor(profile: BrowserProfile) {
    this.profile = profile;
  }

  /** Every cookie that has not expired. */
  all(): Cookie[] {
    this.#cookies = this.#cookies.filter((cookie) => cookie.expiresAt > Date.now());
    return [...this.#cookies];
  }

  /** The cookies that a URL would get on a same-site request. */
  for(url: string | URL): Cookie[] {
    return this.#matching(new URL(url), 'same-site');
  }

  get(name: string): Cookie | undefined {
    return this.all().find((cookie) => cookie.name === name);
  }

  /** The `Cookie` header of a request, or `undefined` where there is none. */
  header(url: string | URL, context: SiteContext = 'same-site'): string | undefined {
    const matching = this.#matching(new URL(url), context);
    if (matching.length === 0) return undefined;
    return matching.map((cookie) => (cookie.name === '' ? cookie.value : `${cookie.name}=${cookie.value}`)).join('; ');
  }

  /**
   * Takes a `Set-Cookie` header (or, `fromScript`, what a page assigns to `document.cookie`). Answers whether the
   * browser would keep it.
   */
  store(setCookie: string, url: string | URL, context: SiteContext = 'same-site', fromScript = false): boolean {
    const parsed = parseSetCookie(setCookie, new URL(url));
    if (!parsed || !this.#isAcceptable(parsed, new URL(url), context, fromScript)) return false;
    const old = this.#cookies.find((cookie) => isSameCookie(cookie, parsed));
    if (old && fromScript && old.httpOnly) return false;
    this.#cookies = this.#cookies.filter((cookie) => cookie !== old);
    if (parsed.expiresAt > Date.now()) this.#cookies.push({ ...parsed, createdAt: old?.createdAt ?? parsed.createdAt });
    return true;
  }

  /** Adds a cookie as it is, past every rule: what a test plants. */
  put(cookie: Partial<Cookie> & Pick<Cookie, 'name' | 'value' | 'domain'>): void {
    const complete: Cookie = {
      hostOnly: true,
      path: '/',
      secure: false,
      httpOnly: true,
      sameSite: 'lax',
      expiresAt: Infinity,
      createdAt: Date.now(),
      ...cookie,
    };
    this.#cookies = [...this.#cookies.filter((known) => !isSameCookie(known, complete)), complete];
  }

  /** Changes the value of every cookie of that name; answers how many there were. */
  replace(name: string, change: (value: string) => string): number {
    const named = this.#cookies.filter((cookie) => cookie.name === name);
    for (const cookie of named) cookie.value = change(cookie.value);
    return named.length;
  }

  remove(name: string): void {
    this.#cookies = this.#cookies.filter((cookie) => cookie.name !== name);
  }

  clear(): void {
    this.#cookies = [];
  }

  clone(): CookieJar {
    const copy = new CookieJar(this.profile);
    copy.#cookies = this.#cookies.map((cookie) => ({ ...cookie }));
    return copy;
  }

  #matching(url: URL, context: SiteContext): Cookie[] {
    return this.all()
      .filter((cookie) => matchesUrl(cookie, url) && this.#isSent(cookie, context))
      .toSorted((a, b) => b.path.length - a.path.length || a.createdAt - b.createdAt);
  }

  #isSent(cookie: Cookie, context: SiteContext): boolean {
    if (context === 'same-site') return true;
    if (cookie.sameSite === 'strict') return false;
    if (cookie.sameSite === 'none') return true;
    if (context === 'cross-site-safe-navigation') return true;
    if (cookie.sameSite === 'lax') return false;
    if (this.profile !== 'chromium') return true;
    const isFresh = Date.now() - cookie.createdAt < laxPostSeconds * 1000;
    return context === 'cross-site-unsafe-navigation' && isFresh;
  }

  #isAcceptable(cookie: Cookie, url: URL, context: SiteContext, fromScript: boolean): boolean {
    if (cookie.name === '' && cookie.value === '') return false;
    if (Buffer.byteLength(cookie.name) + Buffer.byteLength(cookie.value) > maximumNameAndValueBytes) return false;
    if (fromScript && cookie.httpOnly) return false;
    if (cookie.secure && !this.#mayBeSecure(url)) return false;
    if (cookie.sameSite === 'none' && !cookie.secure && this.profile !== 'safari') return false;
    if (!this.#obeysPrefix(cookie, fromScript)) return false;
    // Cookies set by a cross-site subresource are third-party: only None would be stored (and is, for the tests' sake).
    if (context === 'cross-site-subresource' && cookie.sameSite !== 'none') return false;
    if (!cookie.secure && !isTrustworthy(url)) {
      return !this.all().some((known) => known.secure && known.name === cookie.name && overlaps(known, cookie));
    }
    return true;
  }

  #mayBeSecure(url: URL): boolean {
    return url.protocol === 'https:' || (this.profile !== 'safari' && isTrustworthy(url));
  }

  #obeysPrefix(cookie: Cookie, fromScript: boolean): boolean {
    const name = (cookie.name === '' ? cookie.value : cookie.name).toLowerCase();
    const knowsHttp = this.profile !== 'safari';
    if (cookie.name === '' && (name.startsWith('__host-') || name.startsWith('__secure-'))) return false;
    if (name.startsWith('__secure-') && !cookie.secure) return false;
    if (name.startsWith('__host-') && !(cookie.secure && cookie.hostOnly && cookie.path === '/')) return false;
    if (knowsHttp && (name.startsWith('__http-') || name.startsWith('__host-http-'))) {
      return cookie.secure && cookie.httpOnly && !fromScript;
    }
    return true;
  }
}

/** Whether the two URLs are same-site, scheme included. */
export function isSameSite(a: string | URL, b: string | URL): boolean {
  const [left, right] = [new URL(a), new URL(b)];
  return left.protocol === right.protocol && site(left.hostname) === site(right.hostname);
}

/** Whether browsers treat the URL as a secure context. */
export function isTrustworthy(url: URL): boolean {
  const { hostname } = url;
  if (url.protocol === 'https:') return true;
  return (
    hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' || hostname.startsWith('127.')
  );
}

/** The registrable domain, taken as the last two labels: enough for the names that tests use. */
function site(hostname: string): string {
  if (isAddress(hostname)) return hostname;
  return hostname.split('.').slice(-2).join('.');
}

function isAddress(hostname: string): boolean {
  return hostname.startsWith('[') || /^[\d.]+$/.test(hostname);
}

function parseSetCookie(setCookie: string, url: URL): Cookie | undefined {
  // A control character makes browsers drop the whole cookie (tab excepted).
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(setCookie)) return undefined;
  const [pair = '', ...attributes] = setCookie.split(';');
  const equals = pair.indexOf('=');
  const cookie: Cookie = {
    name: equals < 0 ? '' : pair.slice(0, equals).trim(),
    value: pair.slice(equals + 1).trim(),
    domain: url.hostname,
    hostOnly: true,
    path: defaultPath(url),
    secure: false,
    httpOnly: false,
    sameSite: 'unset',
    expiresAt: Infinity,
    createdAt: Date.now(),
  };
  for (const attribute of attributes) {
    const separator = attribute.indexOf('=');
    const name = (separator < 0 ? attribute : attribute.slice(0, separator)).trim().toLowerCase();
    const value = separator < 0 ? '' : attribute.slice(separator + 1).trim();
    if (Buffer.byteLength(value) > maximumAttributeBytes) continue;
    if (name === 'domain' && !applyDomain(cookie, value, url)) return undefined;
    applyAttribute(cookie, name, value, url);
  }
  applyExpiry(cookie, attributes);
  return cookie;
}

function applyAttribute(cookie: Cookie, name: string, value: string, url: URL): void {
  if (name === 'path') cookie.path = value.startsWith('/') ? value : defaultPath(url);
  if (name === 'secure') cookie.secure = true;
  if (name === 'httponly') cookie.httpOnly = true;
  if (name === 'samesite') cookie.sameSite = parseSameSite(value);
}

/** `Max-Age` wins over `Expires`, whatever their order. */
function applyExpiry(cookie: Cookie, attributes: string[]): void {
  const text = attributes.join(';');
  const maxAge = /(?:^|;)\s*max-age\s*=\s*(-?\d+)\s*(?=;|$)/i.exec(text)?.[1];
  const expires = Date.parse(/(?:^|;)\s*expires\s*=([^;]*)/i.exec(text)?.[1] ?? '');
  if (maxAge !== undefined) cookie.expiresAt = Date.now() + Math.min(Number(maxAge), maximumAgeSeconds) * 1000;
  else if (!Number.isNaN(expires)) cookie.expiresAt = expires;
}

function applyDomain(cookie: Cookie, value: string, url: URL): boolean {
  const domain = value.replace(/^\./, '').toLowerCase();
  if (domain === '') return true;
  if (domain === url.hostname) {
    // A public suffix (or an address) as the domain of its own host makes a host-only cookie.
    cookie.hostOnly = !domain.includes('.') || isAddress(domain);
    return true;
  }
  if (!domain.includes('.') || isAddress(url.hostname) || !url.hostname.endsWith(`.${domain}`)) return false;
  cookie.domain = domain;
  cookie.hostOnly = false;
  return true;
}

function parseSameSite(value: string): SameSite {
  const lower = value.toLowerCase();
  return lower === 'strict' || lower === 'lax' || lower === 'none' ? lower : 'unset';
}

function defaultPath(url: URL): string {
  const end = url.pathname.lastIndexOf('/');
  return end <= 0 ? '/' : url.pathname.slice(0, end);
}

function matchesUrl(cookie: Cookie, url: URL): boolean {
  const hostMatches =
    url.hostname === cookie.domain || (!cookie.hostOnly && url.hostname.endsWith(`.${cookie.domain}`));
  return hostMatches && pathMatches(cookie.path, url.pathname) && (!cookie.secure || isTrustworthy(url));
}

function pathMatches(cookiePath: string, path: string): boolean {
  if (path === cookiePath) return true;
  return path.startsWith(cookiePath) && (cookiePath.endsWith('/') || path[cookiePath.length] === '/');
}

function isSameCookie(a: Cookie, b: Cookie): boolean {
  return a.name === b.name && a.domain === b.domain && a.path === b.path && a.hostOnly === b.hostOnly;
}

function overlaps(known: Cookie, added: Cookie): boolean {
  const domains =
    known.domain === added.domain ||
    known.domain.endsWith(`.${added.domain}`) ||
    added.domain.endsWith(`.${known.domain}`);
  return domains && pathMatches(known.path, added.path);
}

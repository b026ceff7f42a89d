/**
 * Cookies on the wire (RFC 6265bis): names, attributes, chunks. Browsers drop a cookie of more than 4096 bytes
 * silently, so a longer value is split into numbered cookies, four at most; each write replaces the whole set.
 */
import { createHash } from 'node:crypto';
import type { Config } from '../config/config.ts';
import { looksSealed } from './seal.ts';
import { looksLikeTicket } from './tickets.ts';

/** Browsers drop a larger cookie. Attributes count, because some browsers count them. */
export const maximumCookieBytes = 4096;
const maximumChunks = 4;

/** In place of a Cookie header that need not show all cookies that the browser has. */
export const cookiesUnknown: unique symbol = Symbol('cookiesUnknown');

/** The names of one app's cookies. Made once, because {@link readSessionCookie} runs with every call. */
export interface CookieNames {
  readonly secure: boolean;
  readonly session: string;
  readonly loginPrefix: string;
  readonly logout: string;
  readonly logoutReturnPrefix: string;
  /** Matches every name that is Sallyport's own, in any case; see {@link isOwnCookie}. */
  readonly own: RegExp;
}

const securePrefix = '__Host-Http-';

/**
 * On loopback http the cookies have neither `Secure` nor the prefix, because Safari drops `Secure` cookies there. Their
 * names hold the port, because cookies don't tell ports apart (RFC 6265 8.5): another app on this machine must neither
 * get nor clear them.
 */
export function cookieNames({ origin, secure, session }: Pick<Config, 'origin' | 'secure' | 'session'>): CookieNames {
  const { cookieName } = session;
  const plain = namesOf(cookieName, '');
  const prefixed = mapNames(plain, (name) => `${securePrefix}${name}`);
  if (secure) return { secure, ...prefixed, own: ownPattern(prefixed) };
  const numbered = namesOf(cookieName, `-${new URL(origin).port || '80'}`);
  // The prefixed names may be those of an https app on this machine.
  return { secure, ...numbered, own: ownPattern(numbered, prefixed) };
}

type Names = Omit<CookieNames, 'secure' | 'own'>;

function namesOf(session: string, suffix: string): Names {
  return {
    session: `${session}${suffix}`,
    loginPrefix: `login${suffix}-`,
    logout: `logout${suffix}`,
    logoutReturnPrefix: `logout${suffix}-return-`,
  };
}

function mapNames(
  { session, loginPrefix, logout, logoutReturnPrefix }: Names,
  change: (name: string) => string,
): Names {
  return {
    session: change(session),
    loginPrefix: change(loginPrefix),
    logout: change(logout),
    logoutReturnPrefix: change(logoutReturnPrefix),
  };
}

/** Names are letters, digits, "-" and "_", which stand for themselves in a pattern. */
function ownPattern(...sets: Names[]): RegExp {
  const each = sets.map(
    ({ session, loginPrefix, logout, logoutReturnPrefix }) =>
      `${session}(?:\\.[1-9])?|${loginPrefix}.*|${logout}|${logoutReturnPrefix}.*`,
  );
  return new RegExp(`^(?:${each.join('|')})$`, 'is');
}

/** Each pair of a Cookie header, in order. Malformed parts are skipped. */
export function* cookiePairs(header: string): Generator<readonly [name: string, value: string]> {
  let start = 0;
  while (start < header.length) {
    const semicolon = header.indexOf(';', start);
    const end = semicolon === -1 ? header.length : semicolon;
    while (header.charCodeAt(start) === 0x20) start++;
    const equals = header.indexOf('=', start);
    if (equals > start && equals < end) yield [header.slice(start, equals), header.slice(equals + 1, end).trimEnd()];
    start = end + 1;
  }
}

/**
 * The sealed session in a Cookie header that names it once and holds it whole, as nearly every one does. Not parsing the
 * other cookies saves 3 us a call. Undefined for any other header: see {@link sessionCandidates}.
 */
export function readSessionCookie(header: string | undefined, names: CookieNames): string | undefined {
  if (header === undefined) return undefined;
  const at = header.indexOf(names.session);
  if (at === -1) return undefined;
  const valueAt = at + names.session.length + 1;
  // A space alone begins no pair: a value may hold one, a sibling subdomain could plant `x=y __Host-Http-session=…`.
  const isPair = header[valueAt - 1] === '=' && (at === 0 || (header[at - 1] === ' ' && header[at - 2] === ';'));
  if (!isPair || header.includes(names.session, valueAt)) return undefined;
  const end = header.indexOf(';', valueAt);
  return header.slice(valueAt, end === -1 ? undefined : end).trimEnd();
}

/**
 * Everything in a Cookie header that may be a sealed session: whole cookies, then chunks joined. More than one is there
 * when a write was half lost, or when a name occurs twice: a sibling subdomain can plant a second cookie in a browser that
 * doesn't enforce `__Host-`, and on loopback another port can.
 */
export function sessionCandidates(header: string | undefined, names: CookieNames): string[] {
  if (header?.includes(names.session) !== true) return [];
  const values = new Map<string, string[]>();
  for (const [name, value] of cookiePairs(header)) {
    if (!isSessionCookie(name, names)) continue;
    const known = values.get(name);
    if (known === undefined) values.set(name, [value]);
    else known.push(value);
  }
  const whole = values.get(names.session) ?? [];
  return [...whole, ...joinChunks((index) => values.get(`${names.session}.${index}`) ?? [])];
}

/** How many chunks are put in a place at most, in all ways to join them: a request may bring thousands. */
const maximumPlacements = 100;

/**
 * All ways to join chunks. The first one holds their count, so that a chunk left over from an earlier, longer session is
 * not joined; all have its length, except for the last.
 */
function joinChunks(chunksAt: (index: number) => readonly string[]): string[] {
  const joined: string[] = [];
  let placements = 0;

  function extend(text: string, index: number, count: number, length: number): void {
    for (const chunk of chunksAt(index)) {
      if (++placements > maximumPlacements) return;
      if (index === count) joined.push(text + chunk);
      else if (chunk.length === length) extend(text + chunk, index + 1, count, length);
    }
  }

  for (const chunk of chunksAt(1)) {
    const [, count, first = ''] = /^([2-9])!(.*)$/.exec(chunk) ?? [];
    if (count !== undefined) extend(first, 2, Number(count), chunk.length);
  }
  return joined;
}

/**
 * The `Set-Cookie` lines that make `sealed` the browser's session and delete what is left over.
 * @param header the request's Cookie header, or {@link cookiesUnknown}
 * @returns undefined when four cookies can't hold it
 */
export function writeSessionCookie(
  sealed: string,
  maxAgeSeconds: number,
  header: string | undefined | typeof cookiesUnknown,
  names: CookieNames,
): string[] | undefined {
  const attributes = sessionAttributes(maxAgeSeconds, names);
  const maximumLength = maximumCookieBytes - `${names.session}.1=`.length - attributes.length;
  const chunks = chunksOf(sealed, maximumLength, names);
  if (chunks.length > maximumChunks) return undefined;
  const written = new Set(chunks.map(([name]) => name));
  const left = header === cookiesUnknown ? allSessionNames(names) : sessionNamesIn(header, names);
  return [
    ...chunks.map(([name, value]) => `${name}=${value}${attributes}`),
    ...deletions(
      left.filter((name) => !written.has(name)),
      names,
    ),
  ];
}

/** @param maximumLength of one cookie's value */
function chunksOf(
  sealed: string,
  maximumLength: number,
  names: CookieNames,
): (readonly [name: string, value: string])[] {
  if (sealed.length <= maximumLength) return [[names.session, sealed]];
  // The count is one digit, whatever it is.
  const count = Math.ceil((sealed.length + '2!'.length) / maximumLength);
  const text = `${count}!${sealed}`;
  return Array.from({ length: count }, (_, index) => [
    `${names.session}.${index + 1}`,
    text.slice(index * maximumLength, (index + 1) * maximumLength),
  ]);
}

/**
 * The `Set-Cookie` lines that delete the session's cookies. One whose value has not the form of a session or of a part of
 * one is another program's, which chose the same name.
 */
export function clearSessionCookie(header: string | undefined, names: CookieNames): string[] {
  return deletions(
    sessionNamesIn(header, names, (name, value) => hasOurForm(name.slice(names.session.length), value)),
    names,
  );
}

function deletions(present: readonly string[], names: CookieNames): string[] {
  const attributes = sessionAttributes(0, names);
  return present.map((name) => `${name}=${attributes}`);
}

/** @param suffix of the name: '' for a whole session, else of a chunk */
function hasOurForm(suffix: string, value: string): boolean {
  if (suffix === '') return looksSealed(value) || looksLikeTicket(value);
  if (suffix === '.1') return /^[2-9]!/.test(value) && looksSealed(value.slice('2!'.length));
  // A later chunk begins anywhere in the seal.
  return /^[\w.-]+$/.test(value);
}

/**
 * The `Set-Cookie` line of what the browser brings back from the provider: a login transaction, or where a sign-out
 * ends. Lax, because that way is cross-site; `value` '' deletes it.
 */
export function laxCookie(name: string, value: string, maxAgeSeconds: number, names: CookieNames): string {
  return `${name}=${value}; Max-Age=${maxAgeSeconds}; Path=/; HttpOnly${names.secure ? '; Secure' : ''}; SameSite=Lax`;
}

/** The logout ticket's `Set-Cookie` line; `value` '' with 0 seconds deletes it. */
export function logoutCookie(value: string, maxAgeSeconds: number, names: CookieNames): string {
  return `${names.logout}=${value}${sessionAttributes(maxAgeSeconds, names)}`;
}

function sessionAttributes(maxAgeSeconds: number, names: CookieNames): string {
  return `; Max-Age=${maxAgeSeconds}; Path=/; HttpOnly${names.secure ? '; Secure' : ''}; SameSite=Strict`;
}

function allSessionNames(names: CookieNames): string[] {
  return [names.session, ...Array.from({ length: maximumChunks }, (_, index) => `${names.session}.${index + 1}`)];
}

/**
 * Whether a name, in any case, is one of Sallyport's cookies: a session's, a login transaction's, a sign-out's. On
 * an https origin the plain names are free, on loopback those of other ports; the prefixed ones never are.
 */
export function isOwnCookie(name: string, { own }: CookieNames): boolean {
  return own.test(name);
}

/** Ends the name of a cookie that belongs to one `state`. */
export function stateHash(state: string): string {
  return createHash('sha256').update(state).digest('base64url').slice(0, 10);
}

/** Whether a name is a login transaction's: `<prefix><time>-<hash of the state>`. */
export function isLoginCookie(name: string, { loginPrefix }: CookieNames): boolean {
  return name.startsWith(loginPrefix) && /^[0-9a-z]{8}-[\w-]{10}$/.test(name.slice(loginPrefix.length));
}

function isSessionCookie(name: string, names: CookieNames): boolean {
  if (!name.startsWith(names.session)) return false;
  return name.length === names.session.length || /^\.[1-9]$/.test(name.slice(names.session.length));
}

function sessionNamesIn(
  header: string | undefined,
  names: CookieNames,
  matches: (name: string, value: string) => boolean = () => true,
): string[] {
  const found = new Set<string>();
  for (const [name, value] of cookiePairs(header ?? '')) {
    if (isSessionCookie(name, names) && matches(name, value)) found.add(name);
  }
  return [...found];
}

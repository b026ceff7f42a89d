/**
 * Caching of responses that are for one person. A shared cache stores no response to a request with `Authorization`
 * unless the API allows it (RFC 9111 3.5), and `Vary: Authorization` separates one person's responses from another's.
 * The browser's request has a cookie instead, so the response must state both in other words. Hides how the directives
 * of `Cache-Control` and its targeted forms (RFC 9213) are read.
 */

type CachingHeaders = ReadonlyMap<string, readonly string[]>;

/** `Cache-Control`, its targeted forms (RFC 9213), what CDNs read instead, and what selects among stored responses. */
export function isCachingHeader(name: string): boolean {
  return name === 'vary' || name.endsWith('cache-control') || forSharedCaches.has(name);
}

/** Only shared caches read these headers, which have no word for `private`. */
const forSharedCaches = new Set(['surrogate-control', 'x-accel-expires', 'edge-control']);

/**
 * Adds the caching headers of a response that is for one person.
 * @param out flat list of names and values
 * @param caching the API's caching headers; undefined if it sent none
 * @param setsCookies whether the response sets the session cookie: then no cache may store it, whatever the API says
 */
export function pushPrivateCaching(out: string[], caching: CachingHeaders | undefined, setsCookies: boolean): void {
  const cacheControl = caching?.get('cache-control');
  if (cacheControl === undefined || setsCookies) out.push('cache-control', 'no-store');
  if (caching === undefined) return;
  pushVary(out, caching.get('vary') ?? []);
  if (setsCookies) return;
  const directives = cacheControl === undefined ? undefined : directivesOf(cacheControl);
  const isPublic = directives?.has('public') === true || directives?.has('s-maxage') === true;
  for (const [name, values] of caching) {
    if (name.endsWith('cache-control')) pushEach(out, name, withPrivate(values));
    else if (name !== 'vary' && isPublic) pushEach(out, name, values);
  }
}

function pushEach(out: string[], name: string, values: readonly string[]): void {
  for (const value of values) out.push(name, value);
}

/** @returns the values, with `private` unless their directives already decide about shared caches */
function withPrivate(values: readonly string[]): readonly string[] {
  const directives = directivesOf(values);
  if (allowsSharing(directives) || directives.has('private') || directives.has('no-store')) return values;
  // `private` comes first, because a quotation mark that the API left open would swallow it at the end. Some caches use
  // the last of a repeated directive (RFC 9111 4.2.1), so `private="field"` goes: the whole response becomes private.
  const others = values.map((value) => value.replace(qualifiedPrivate, '').replace(/^[\s,]+/, ''));
  const [first = '', ...rest] = others.filter((value, index) => index === 0 || value !== '');
  return [first === '' ? 'private' : `private, ${first}`, ...rest];
}

const qualifiedPrivate = /(?<=^|,)\s*private\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^,]*)/gi;

function allowsSharing(directives: ReadonlySet<string>): boolean {
  return directives.has('public') || directives.has('s-maxage') || directives.has('must-revalidate');
}

/**
 * Directive names in lower case. `private="field"` restricts that field alone (RFC 9111 5.2.2.7), and `public=?0` means
 * no (RFC 9213 2.1): a directive that takes no argument doesn't count with one.
 */
function directivesOf(values: readonly string[]): Set<string> {
  const found = new Set<string>();
  // A quotation mark that is left open goes to the end: to look for its end anew from each mark behind it takes a second.
  const members = values.join(', ').match(/(?:[^,"]|"(?:[^"\\]|\\.)*(?:"|\\?$))+/g) ?? [];
  for (const member of members) {
    const [, name = '', argument] = /^\s*([^\s=]+)\s*(=.*)?$/s.exec(member) ?? [];
    if (argument === undefined || name.toLowerCase() === 's-maxage') found.add(name.toLowerCase());
  }
  return found;
}

/** The session cookie takes the place of `Authorization`. */
function pushVary(out: string[], values: readonly string[]): void {
  const members = values.flatMap((value) => value.split(',')).map((member) => member.trim());
  const others = members.filter((member) => member !== '' && !/^(?:authorization|cookie)$/i.test(member));
  if (!members.some((member) => member.toLowerCase() === 'authorization')) pushEach(out, 'vary', values);
  else out.push('vary', [...others, 'Cookie'].join(', '));
}

/**
 * How a path is read: by Sallyport (RFC 3986 6.2.2), and in the loosest way that an API's server may read it. The first
 * reading chooses the route; if the second would choose another, the call must not pass.
 */

/** The path of a request's target: without its query. */
export function pathOf(target: string): string {
  const queryAt = target.indexOf('?');
  return queryAt === -1 ? target : target.slice(0, queryAt);
}

/** Letters, digits, "-", ".", "_" and "~": encoded or not, they are equivalent (RFC 3986 6.2.2.2). */
const encodedUnreserved = /%(?:2[de]|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])/gi;

/** The path with unreserved characters decoded: it chooses the route, and is sent upstream. */
export function normalPath(path: string): string {
  return path.includes('%') ? path.replace(encodedUnreserved, decodeURIComponent) : path;
}

/** Whether a path is `prefix` or below it, on whole segments. A target's query may follow. */
export function isWithin(target: string, prefix: string): boolean {
  if (!target.startsWith(prefix)) return false;
  const next = target.charCodeAt(prefix.length);
  return Number.isNaN(next) || next === 0x2f || next === 0x3f;
}

const decodingRounds = 3;

/**
 * The path as the most lenient server could read it: decoded more than once, letters of any width and case equal, "\" as
 * "/", path parameters removed, empty segments omitted. For comparisons only.
 */
export function loosestPath(path: string): string {
  let text = path;
  for (let round = 0; round < decodingRounds; round++) text = decodeAll(text).normalize('NFKC');
  return (
    text
      .replace(/[?#].*$/s, '')
      .replaceAll('\\', '/')
      .replace(/;[^/]*/g, '')
      .replace(/[\p{C}\s]/gu, '')
      .toLowerCase()
      // A server that folds letter by letter (Java) reads the dotted and the dotless "i" as "i".
      .replace(/i\u0307|\u0131/g, 'i')
      .replace(/\/{2,}/g, '/')
  );
}

/** Whether the loosest reading of a path holds a ".." segment, which may lead above the target's path. */
export function climbs(loosest: string): boolean {
  return /\/\.\.(?:\/|$)/.test(loosest);
}

/** Whether it holds a "." or ".." segment. */
export function hasDotSegment(loosest: string): boolean {
  return /\/\.{1,2}(?:\/|$)/.test(loosest);
}

/** Whether the loosest reading of a path is within `prefix`: also `/admin.` and `/admin.json`, which some routers accept. */
export function isLooselyWithin(loosest: string, prefix: string): boolean {
  const folded = prefix.toLowerCase();
  return loosest.startsWith(folded) && /^(?:\.[^/]*)?(?:\/|$)/.test(loosest.slice(folded.length));
}

/** Decodes every escape; invalid UTF-8 becomes a replacement character, never an error. */
function decodeAll(text: string): string {
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) =>
    Buffer.from(escapes.replaceAll('%', ''), 'hex').toString('utf8'),
  );
}

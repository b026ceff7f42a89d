/**
 * How a path is read: ours, and the loosest reading that a server behind us might have. Routes are chosen by the first;
 * where the second would choose another, the two disagree and the call must not pass.
 */

/** The path of a request's target: without its query. */
export function pathOf(target: string): string {
  const queryAt = target.indexOf('?');
  return queryAt === -1 ? target : target.slice(0, queryAt);
}

/** Letters, digits, "-", ".", "_" and "~": encoded or not, they are the same (RFC 3986 6.2.2.2). */
const encodedUnreserved = /%(?:2[de]|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])/gi;

/** The path with unreserved characters decoded: how routes are chosen, and how it goes upstream. */
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
 * The path as the most lenient of servers could read it: decoded more than once, letters of any width and case alike,
 * "\" as "/", path parameters and formats cut off, empty segments left out. For comparisons only.
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
      // The dotted and the dotless one are both "i" to a server that folds letter by letter (Java).
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

/** Whether the loosest reading of a path leads to `prefix`: also as `/admin.` and `/admin.json`, as some routers see it. */
export function isLooselyWithin(loosest: string, prefix: string): boolean {
  const folded = prefix.toLowerCase();
  return loosest.startsWith(folded) && /^(?:\.[^/]*)?(?:\/|$)/.test(loosest.slice(folded.length));
}

/** Decodes every escape; what is no UTF-8 becomes a replacement character, never an error. */
function decodeAll(text: string): string {
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) =>
    Buffer.from(escapes.replaceAll('%', ''), 'hex').toString('utf8'),
  );
}

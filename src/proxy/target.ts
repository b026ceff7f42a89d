/**
 * Which route a request takes and what it asks of the upstream. One and the same path decides both: whatever two parsers
 * could read differently is refused.
 */
import type { ApiRoute } from '../config.ts';
import { BffError } from '../errors.ts';

/** Characters that a path can't hold, or that parsers disagree about; a fragment has no place on the wire. */
const odd = /[^\x21-\x7e]|[\\#]|%00/;
/** `.` and `..` segments, in any spelling, also with the path parameters that some servers cut off. */
const dotSegment = /(?:\/|%2f|%5c)(?:\.|%2e){1,2}(?:[/;?]|%3b|%2f|%5c|$)/i;
const encodedSlash = /%2f|%5c/i;

/** Finds routes by longest prefix on whole segments. */
export function createRouteFinder(routes: readonly ApiRoute[]): (url: string) => ApiRoute | undefined {
  return (url) => {
    for (const route of routes) {
      if (!url.startsWith(route.path)) continue;
      const next = url.charCodeAt(route.path.length);
      // The prefix ends with the path, at a "/", or at the query.
      if (Number.isNaN(next) || next === 0x2f || next === 0x3f) return route;
    }
    return undefined;
  };
}

/**
 * The upstream's path and query for a request's; the query stays as it is, byte for byte.
 * @throws {BffError} `request_invalid`
 */
export function upstreamPath(url: string, route: ApiRoute, targetPath: string): string {
  const queryAt = url.indexOf('?');
  const path = queryAt === -1 ? url : url.slice(0, queryAt);
  if (odd.test(path) || dotSegment.test(path) || (!route.allowEncodedSlashes && encodedSlash.test(path))) {
    throw new BffError(
      'request_invalid',
      'The path holds dot segments, encoded slashes, backslashes or characters that a URL must encode.',
    );
  }
  if (queryAt !== -1 && url.includes('#', queryAt)) {
    throw new BffError('request_invalid', 'A "#" in a query must be written as %23.');
  }
  const rest = url.slice(route.path.length);
  return rest.startsWith('/') ? targetPath + rest : `${targetPath === '' ? '/' : targetPath}${rest}`;
}

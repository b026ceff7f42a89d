/**
 * Which route a request takes and what it asks of the upstream. One and the same path decides both: whatever two parsers
 * could read differently is refused.
 */
import type { ApiRoute } from '../config/config.ts';
import { BffError } from '../http/errors.ts';
import { climbs, hasDotSegment, isLooselyWithin, isWithin, loosestPath, normalPath, pathOf } from '../http/paths.ts';

/** Characters that a path can't hold, or that parsers disagree about; a fragment has no place on the wire. */
const odd = /[^\x21-\x7e]|[\\#]|%00/;
/** `.` and `..` segments, also with the path parameters that some servers cut off. */
const dotSegment = /\/\.{1,2}(?:[/;]|%2f|%5c|%3b|$)|(?:%2f|%5c)\.{1,2}(?:[/;]|%2f|%5c|%3b|$)/i;
const encodedSlash = /%2f|%5c/i;

export interface Routing {
  /** The route of a request's target (path and query), if it is an API call at all: the longest prefix wins. */
  find(target: string): ApiRoute | undefined;
  /**
   * The upstream's path and query for a request of `route`; the query stays as it is, byte for byte.
   * @throws {BffError} `request_invalid`
   */
  upstreamTarget(target: string, route: ApiRoute): string;
}

interface Place {
  readonly targetPath: string;
  /** Routes below this one, which a path of this one must not be mistaken for. */
  readonly longer: readonly ApiRoute[];
  /** Whether this route lies below another, or another below it: then a path must not lead from one to the other. */
  readonly isNested: boolean;
}

/** @param routes longest path first */
export function createRouting(routes: readonly ApiRoute[]): Routing {
  const places = new Map(routes.map((route) => [route, placeOf(route, routes)]));

  function find(target: string): ApiRoute | undefined {
    const path = target.includes('%') ? normalPath(pathOf(target)) : target;
    // Not by `find`: this runs for every request, and the closure costs more than the comparison.
    for (const route of routes) if (isWithin(path, route.path)) return route;
    return undefined;
  }

  function upstreamTarget(target: string, route: ApiRoute): string {
    const given = pathOf(target);
    const query = target.slice(given.length);
    const path = normalPath(given);
    if (odd.test(path) || dotSegment.test(path) || (!route.allowEncodedSlashes && encodedSlash.test(path))) {
      throw invalid('The path holds dot segments, encoded slashes, backslashes or characters that a URL must encode.');
    }
    if (query.includes('#')) throw invalid('A "#" in a query must be written as %23.');
    if (normalPath(path) !== path) throw invalid('The path holds escapes of escapes.');
    const { targetPath, longer, isNested } = places.get(route) ?? placeOf(route, routes);
    if (isNested || path.includes('%')) refuseOtherReadings(path, longer, isNested);
    // As it came, where its prefix did: the two spellings mean the same (RFC 3986 6.2.2.2).
    const rest = (isWithin(given, route.path) ? given : path).slice(route.path.length);
    return `${targetPath === '' && !rest.startsWith('/') ? '/' : targetPath}${rest}${query}`;
  }

  return { find, upstreamTarget };
}

function placeOf(route: ApiRoute, routes: readonly ApiRoute[]): Place {
  const folded = route.path.toLowerCase();
  const others = routes.filter((other) => other !== route);
  const longer = others.filter((other) => isWithin(other.path.toLowerCase(), folded));
  return {
    targetPath: route.target.pathname.replace(/\/$/, ''),
    longer,
    isNested: longer.length > 0 || others.some((other) => isWithin(folded, other.path.toLowerCase())),
  };
}

/** The API behind may decode, fold or cut what we don't, and then find itself under a route with other rules. */
function refuseOtherReadings(path: string, longer: readonly ApiRoute[], isNested: boolean): void {
  const loosest = loosestPath(path);
  if (climbs(loosest) || (isNested && hasDotSegment(loosest)))
    throw invalid('The path holds dot segments that are encoded twice.');
  const meant = longer.find((route) => isLooselyWithin(loosest, route.path));
  if (meant === undefined) return;
  throw invalid(
    `The path could be read as one below ${meant.path}, a route of its own: spell it so, or give this path its own route.`,
  );
}

function invalid(detail: string): BffError {
  return new BffError('request_invalid', detail);
}

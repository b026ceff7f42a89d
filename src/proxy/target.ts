/**
 * Which route a request takes, and its target at the upstream. One path decides both: a path that two parsers could read
 * differently is rejected (RFC 3986 6.2.2).
 */
import type { ApiRoute } from '../config/config.ts';
import { BffError } from '../http/errors.ts';
import { climbs, hasDotSegment, isLooselyWithin, isWithin, loosestPath, normalPath, pathOf } from '../http/paths.ts';

/** Characters that a path can't have or that parsers disagree about; a fragment is never sent (RFC 9110 7.1). */
const forbiddenCharacters = /[^\x21-\x7e]|[\\#]|%00/;
/** `.` and `..` segments, also with path parameters, which some servers remove. */
const dotSegment = /\/\.{1,2}(?:[/;]|%2f|%5c|%3b|$)|(?:%2f|%5c)\.{1,2}(?:[/;]|%2f|%5c|%3b|$)/i;
const encodedSlash = /%2f|%5c/i;

export interface Routing {
  /** The route of a request's target (path and query), by the longest prefix; undefined if it is no API call. */
  readonly find: (target: string) => ApiRoute | undefined;
  /**
   * The upstream's path and query for a request of `route`; the query is unchanged, byte for byte.
   * @throws {BffError} `request_invalid`
   */
  readonly upstreamTarget: (target: string, route: ApiRoute) => string;
}

interface Placement {
  /** The target's path without a slash at its end. */
  readonly targetPath: string;
  /** Routes below this one. The API must not read a path of this route as one of theirs. */
  readonly below: readonly ApiRoute[];
  /** Whether this route is below another, or another below it: then a path must not lead from one to the other. */
  readonly isNested: boolean;
}

/** @param routes longest path first */
export function createRouting(routes: readonly ApiRoute[]): Routing {
  const placements = new Map(routes.map((route) => [route, placementOf(route, routes)]));

  function find(target: string): ApiRoute | undefined {
    const path = target.includes('%') ? normalPath(pathOf(target)) : target;
    // Not `routes.find`: this runs for every request, and the closure costs more than the comparison.
    for (const route of routes) if (isWithin(path, route.path)) return route;
    return undefined;
  }

  function upstreamTarget(target: string, route: ApiRoute): string {
    const given = pathOf(target);
    const query = target.slice(given.length);
    const path = normalPath(given);
    if (
      forbiddenCharacters.test(path) ||
      dotSegment.test(path) ||
      (!route.allowEncodedSlashes && encodedSlash.test(path))
    ) {
      throw invalid('The path holds dot segments, encoded slashes, backslashes or characters that a URL must encode.');
    }
    if (query.includes('#')) throw invalid('A "#" in a query must be written as %23.');
    if (normalPath(path) !== path) throw invalid('The path holds escapes of escapes.');
    const { targetPath, below, isNested } = placements.get(route) ?? placementOf(route, routes);
    if (isNested || path.includes('%')) rejectOtherReadings(path, below, isNested);
    // Unchanged if the prefix is spelled as the route: the two spellings are equivalent (RFC 3986 6.2.2.2).
    const rest = (isWithin(given, route.path) ? given : path).slice(route.path.length);
    return `${targetPath === '' && !rest.startsWith('/') ? '/' : targetPath}${rest}${query}`;
  }

  return { find, upstreamTarget };
}

function placementOf(route: ApiRoute, routes: readonly ApiRoute[]): Placement {
  const folded = route.path.toLowerCase();
  const others = routes.filter((other) => other !== route);
  const below = others.filter((other) => isWithin(other.path.toLowerCase(), folded));
  return {
    targetPath: route.target.pathname.replace(/\/$/, ''),
    below,
    isNested: below.length > 0 || others.some((other) => isWithin(folded, other.path.toLowerCase())),
  };
}

/** The API may decode, fold or cut more than Sallyport does, and then serve a path of a route with other rules. */
function rejectOtherReadings(path: string, below: readonly ApiRoute[], isNested: boolean): void {
  const loosest = loosestPath(path);
  if (climbs(loosest) || (isNested && hasDotSegment(loosest)))
    throw invalid('The path holds dot segments that are encoded twice.');
  const other = below.find((route) => isLooselyWithin(loosest, route.path));
  if (other === undefined) return;
  throw invalid(
    `The path could be read as one below ${other.path}, a route of its own: spell it so, or give this path its own route.`,
  );
}

function invalid(detail: string): BffError {
  return new BffError('request_invalid', detail);
}

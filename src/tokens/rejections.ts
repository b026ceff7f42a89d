/**
 * Routes whose API has answered 401 to a token that was new. For a while their 401s pass to the app at once, because
 * each would cost a refresh that changes nothing.
 */
import { monotonicMs } from '../clock.ts';
import type { SessionEntry } from '../session/sessions.ts';

const rejectionMs = 60_000;

export function createRejections() {
  /** By session and the path of the route: until when. */
  const rejectedUntil = new WeakMap<SessionEntry, Map<string, number>>();

  function record(entry: SessionEntry, route: string): void {
    const routes = rejectedUntil.get(entry) ?? new Map<string, number>();
    rejectedUntil.set(entry, routes.set(route, monotonicMs() + rejectionMs));
  }

  function isRecent(entry: SessionEntry, route: string): boolean {
    return monotonicMs() < (rejectedUntil.get(entry)?.get(route) ?? -Infinity);
  }

  return { record, isRecent };
}

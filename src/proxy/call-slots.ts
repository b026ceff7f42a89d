/**
 * Limits the calls in flight on a route (`maxConcurrent`), for signed-in callers only, so that anonymous requests cannot
 * exhaust it. A call holds a slot from its start at the API to its end there: a client that sends a small body slowly, or
 * a token that is being refreshed, costs the API nothing.
 */
import type { ApiRoute } from '../config/config.ts';
import { BffError } from '../http/errors.ts';

export type CallSlots = ReturnType<typeof createCallSlots>;

export function createCallSlots() {
  const inFlight = new Map<ApiRoute, number>();

  /**
   * Acquires a slot.
   * @returns releases it; to be called once
   * @throws {BffError} `too_many_requests`
   */
  function acquire(route: ApiRoute): () => void {
    if (route.maxConcurrent === 0) return nothing;
    const count = inFlight.get(route) ?? 0;
    if (count >= route.maxConcurrent) {
      const detail = `This route takes ${route.maxConcurrent} calls at a time (maxConcurrent). Repeat the call.`;
      throw new BffError('too_many_requests', detail, { headers: { 'retry-after': '1' } });
    }
    inFlight.set(route, count + 1);
    return () => inFlight.set(route, (inFlight.get(route) ?? 1) - 1);
  }

  return { acquire };
}

function nothing(): void {}

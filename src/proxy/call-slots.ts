/**
 * How many calls are under way at each API (`maxConcurrent`). A slot is taken when a call goes to the API, and given back
 * when the API is done with it: a client that is slow to send a small body, or a token that is being refreshed, costs
 * the API nothing.
 */
import type { ApiRoute } from '../config/config.ts';
import { BffError } from '../http/errors.ts';

export type CallSlots = ReturnType<typeof createCallSlots>;

export function createCallSlots() {
  const inFlight = new Map<ApiRoute, number>();

  /**
   * Takes a slot.
   * @returns gives it back; to be called once
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

/**
 * How many calls are under way at each API (`maxConcurrent`). A slot is taken when a call goes to the API, not before: a
 * client that is slow to send a small body, or a token that is being refreshed, costs the API nothing.
 */
import type { EventEmitter } from 'node:events';
import type { ApiRoute } from '../config/config.ts';
import { BffError } from '../http/errors.ts';

export type CallSlots = ReturnType<typeof createCallSlots>;

export function createCallSlots() {
  const inFlight = new Map<ApiRoute, number>();

  /**
   * Takes a slot until `client` closes: a response, or the socket of an upgrade.
   * @throws {BffError} `too_many_requests`
   */
  function acquire(route: ApiRoute, client: EventEmitter & { readonly destroyed: boolean }): void {
    if (route.maxConcurrent === 0) return;
    const count = inFlight.get(route) ?? 0;
    if (count >= route.maxConcurrent) {
      const detail = `This route takes ${route.maxConcurrent} calls at a time (maxConcurrent). Repeat the call.`;
      throw new BffError('too_many_requests', detail, { headers: { 'retry-after': '1' } });
    }
    // A client that has left closes no second time; the slot would be lost.
    if (client.destroyed) return;
    inFlight.set(route, count + 1);
    client.once('close', () => inFlight.set(route, (inFlight.get(route) ?? 1) - 1));
  }

  return { acquire };
}

/**
 * The operator's sessions API in the first process of several, which has no sessions of its own: those of the store, which
 * the workers hear of what happens to.
 */
import type { Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import { createRequestIds } from '../http/request-id.ts';
import { createSessions } from '../session/sessions.ts';
import { createConfiguredStore } from '../store/configured-store.ts';
import type { Store } from '../store/store.ts';
import type { Log } from '../telemetry/log.ts';
import { logProblem } from '../telemetry/request-log.ts';
import { createOperatorApi, type OperatorApi } from './ops-sessions.ts';

export interface FirstOperator {
  readonly api: OperatorApi;
  /** Another one takes its place, or the process ends. */
  readonly end: () => Promise<void>;
}

export interface FirstOperatorDeps {
  /** What the first process holds for its workers; undefined where each has a connection of its own, and so has this. */
  readonly held: Store | undefined;
  readonly events: Events;
  readonly log: Log;
}

/** @returns undefined where the configuration has no token for it */
export function createFirstOperator(
  config: Config,
  { held, events, log }: FirstOperatorDeps,
): FirstOperator | undefined {
  if (config.listen.opsToken === undefined) return undefined;
  const store = held ?? createConfiguredStore(config, events);
  const sessions = createSessions(config, { store, events });
  const requestIdOf = createRequestIds();
  const api = createOperatorApi(config, {
    sessions,
    onError: (error, request) => logProblem(log, error, requestIdOf(request), request),
  });
  if (api === undefined) return undefined;
  return {
    api,
    async end() {
      // Tells the store what it has not been told yet, such as the ends of an operator while it was down.
      await sessions.close();
      if (held === undefined) await store.close();
    },
  };
}

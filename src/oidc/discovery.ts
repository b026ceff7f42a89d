/**
 * The provider's metadata (OpenID Connect Discovery 4): fetched in the background from the start on, retried with
 * back-off, shared by all callers, and refreshed every hour. A provider that is down, at start-up or later, fails only
 * the calls that need it.
 */
import type { ServerMetadata } from 'openid-client';
import type { Config } from '../config/config.ts';
import { detach } from '../detached.ts';
import type { Events } from '../events.ts';
import type { ProviderAddresses } from './addresses.ts';
import { requestMetadata } from './metadata.ts';
import { requireProfile } from './profile.ts';
import { undiscovered } from './provider-errors.ts';
import { loginScope } from './scope.ts';
import { suitabilityOf } from './suitability.ts';

const firstRetryMs = 1000;
const lastRetryMs = 30_000;
const refreshAfterMs = 60 * 60 * 1000;

interface DiscoveryDeps {
  readonly fetch: typeof fetch;
  readonly addresses: ProviderAddresses;
  readonly events: Events;
  readonly timeoutSeconds: number;
}

export type Discovery = ReturnType<typeof createDiscovery>;

export function createDiscovery(config: Config, deps: DiscoveryDeps) {
  const { events } = deps;
  let metadata: ServerMetadata | undefined;
  let pendingRequest: Promise<ServerMetadata> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let retryMs = firstRetryMs;
  let closed = false;
  let toldFaults: readonly string[] = [];

  /** The metadata, requested now if it isn't cached. @throws {BffError} `provider_unavailable` */
  async function fetchMetadata(): Promise<ServerMetadata> {
    return metadata ?? requestOnce();
  }

  /** One request at a time, shared by all callers. */
  function requestOnce(): Promise<ServerMetadata> {
    return (pendingRequest ??= discover().finally(() => (pendingRequest = undefined)));
  }

  async function discover(): Promise<ServerMetadata> {
    try {
      const fetched = await requestMetadata(config, deps);
      requireProfile(fetched, config);
      if (metadata === undefined) events.emit({ type: 'provider.discovered', scope: loginScope(config, fetched) });
      metadata = fetched;
      tellFaults(suitabilityOf(metadata, config).faults);
      retryMs = firstRetryMs;
      schedule(refreshAfterMs);
      return metadata;
    } catch (cause) {
      if (!closed) events.emit({ type: 'provider.discovery_failed', cause });
      schedule(retryMs);
      retryMs = Math.min(lastRetryMs, retryMs * 2);
      if (metadata !== undefined) return metadata;
      throw undiscovered(cause, config);
    }
  }

  /** Each once, and again when it comes back. */
  function tellFaults(faults: readonly string[]): void {
    for (const problem of faults) {
      if (!toldFaults.includes(problem)) events.emit({ type: 'provider.unsuitable', problem });
    }
    toldFaults = faults;
  }

  function schedule(delayMs: number): void {
    clearTimeout(timer);
    if (!closed) timer = setTimeout(start, delayMs).unref();
  }

  /** Requests the metadata in the background. An error becomes an event, and the next attempt is scheduled. */
  function start(): void {
    detach(requestOnce(), () => undefined);
  }

  return {
    start,
    fetchMetadata,
    /** The metadata, if it was fetched already. */
    cachedMetadata: () => metadata,
    close: () => {
      closed = true;
      clearTimeout(timer);
    },
  };
}

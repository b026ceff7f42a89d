/**
 * The provider's metadata (OpenID Connect Discovery 4): fetched in the background from the start on, retried with
 * back-off, shared by all callers, and refreshed every hour. A provider that is down, at start-up or later, fails only
 * the calls that need it.
 */
import * as client from 'openid-client';
import type { Config } from '../config/config.ts';
import { detach } from '../detached.ts';
import { BffError, retryAfter } from '../http/errors.ts';
import type { Events } from '../events.ts';
import type { ProviderAddresses } from './addresses.ts';
import { scopeFor } from './scope.ts';

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
  const { events, timeoutSeconds, addresses } = deps;
  const location = config.discoveryUrl ?? new URL(config.issuer);
  let metadata: client.ServerMetadata | undefined;
  let pendingRequest: Promise<client.ServerMetadata> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let retryMs = firstRetryMs;
  let closed = false;

  /** The metadata, requested now if it isn't cached. @throws {BffError} `provider_unavailable` */
  async function fetchMetadata(): Promise<client.ServerMetadata> {
    return metadata ?? requestOnce();
  }

  /** One request at a time, shared by all callers. */
  function requestOnce(): Promise<client.ServerMetadata> {
    return (pendingRequest ??= requestMetadata().finally(() => (pendingRequest = undefined)));
  }

  async function requestMetadata(): Promise<client.ServerMetadata> {
    try {
      const discovered = await client.discovery(location, config.client.id, {}, undefined, {
        timeout: Math.ceil(timeoutSeconds),
        execute: addresses.plainHttp ? [client.allowInsecureRequests] : [],
        [client.customFetch]: (url, options) => deps.fetch(url, options as RequestInit),
      });
      const fetched = discovered.serverMetadata();
      // openid-client doesn't compare the issuer when it is given the document's own address (Discovery 4.3).
      if (fetched.issuer !== config.issuer) throw new IssuerMismatch(config.issuer, fetched.issuer);
      requireEndpoints(fetched);
      addresses.requireSecure(fetched);
      if (metadata === undefined) events.emit({ type: 'provider.discovered', scope: scopeFor(config.scope, fetched) });
      metadata = fetched;
      retryMs = firstRetryMs;
      schedule(refreshAfterMs);
      return metadata;
    } catch (cause) {
      if (!closed) events.emit({ type: 'provider.discovery_failed', cause });
      schedule(retryMs);
      retryMs = Math.min(lastRetryMs, retryMs * 2);
      if (metadata !== undefined) return metadata;
      throw new BffError('provider_unavailable', 'The identity provider cannot be reached. Try again in a moment.', {
        cause,
        headers: retryAfter(),
      });
    }
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

const required = ['authorization_endpoint', 'token_endpoint', 'jwks_uri'] as const;

function requireEndpoints(metadata: client.ServerMetadata): void {
  const missing = required.filter((name) => metadata[name] === undefined);
  if (missing.length > 0) throw new Error(`The provider's metadata names no ${missing.join(', no ')}.`);
}

class IssuerMismatch extends Error {
  constructor(configured: string, discovered: string) {
    super(
      `The provider calls itself ${JSON.stringify(discovered)}, but the configured issuer is ${JSON.stringify(configured)}. ` +
        'They must be the same to the letter, a "/" at the end included: correct SALLYPORT_ISSUER.',
    );
    this.name = 'IssuerMismatch';
  }
}

/**
 * The provider's metadata (OpenID Connect Discovery 4): fetched in the background from the start on, retried with
 * back-off, shared by all who need it, and fetched anew now and then. A provider that is down at start-up, or later,
 * costs nothing but the calls that need it.
 */
import * as client from 'openid-client';
import type { Config } from '../config/config.ts';
import { detach } from '../detached.ts';
import { BffError } from '../http/errors.ts';
import type { Events } from '../events.ts';
import type { ProviderAddresses } from './addresses.ts';

const firstRetryMs = 1000;
const lastRetryMs = 30_000;
const renewAfterMs = 60 * 60 * 1000;

interface DiscoveryDeps {
  readonly fetch: typeof fetch;
  readonly addresses: ProviderAddresses;
  readonly events: Events;
  readonly timeoutSeconds: number;
}

export function createDiscovery(config: Config, deps: DiscoveryDeps) {
  const { events, timeoutSeconds, addresses } = deps;
  const location = config.discoveryUrl ?? new URL(config.issuer);
  let metadata: client.ServerMetadata | undefined;
  let running: Promise<client.ServerMetadata> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let retryMs = firstRetryMs;
  let closed = false;

  /** The metadata, fetched now if it isn't known. @throws {BffError} `provider_unavailable` */
  async function known(): Promise<client.ServerMetadata> {
    return metadata ?? (running ??= fetchMetadata().finally(() => (running = undefined)));
  }

  async function fetchMetadata(): Promise<client.ServerMetadata> {
    try {
      const discovered = await client.discovery(location, config.client.id, {}, undefined, {
        timeout: timeoutSeconds,
        execute: addresses.plainHttp ? [client.allowInsecureRequests] : [],
        [client.customFetch]: (url, options) => deps.fetch(url, options as RequestInit),
      });
      const fetched = discovered.serverMetadata();
      // openid-client doesn't compare the issuer where it was given the document's own address (Discovery 4.3).
      if (fetched.issuer !== config.issuer) throw new IssuerMismatch(config.issuer, fetched.issuer);
      requireEndpoints(fetched);
      addresses.requireSecure(fetched);
      if (metadata === undefined) events.emit({ type: 'provider.discovered' });
      metadata = fetched;
      retryMs = firstRetryMs;
      schedule(renewAfterMs);
      return metadata;
    } catch (cause) {
      if (!closed) events.emit({ type: 'provider.discovery_failed', cause });
      schedule(retryMs);
      retryMs = Math.min(lastRetryMs, retryMs * 2);
      if (metadata !== undefined) return metadata;
      throw new BffError('provider_unavailable', 'The identity provider cannot be reached. Try again in a moment.', {
        cause,
        headers: { 'retry-after': '2' },
      });
    }
  }

  function schedule(delayMs: number): void {
    clearTimeout(timer);
    if (!closed) timer = setTimeout(start, delayMs).unref();
  }

  /** Fetches in the background. A failure is an event, and the next try is scheduled. */
  function start(): void {
    running ??= fetchMetadata().finally(() => (running = undefined));
    detach(running, () => undefined);
  }

  return {
    start,
    metadata: known,
    /** The metadata if it is known already. */
    known: () => metadata,
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

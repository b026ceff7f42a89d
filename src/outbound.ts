/** How Sallyport connects to others: undici agents with explicit limits, one for the provider, one for the APIs. */
import { Agent, fetch as undiciFetch, Pool } from 'undici';

/** Metadata, keys and token responses are small; whatever is larger isn't one. */
const maximumProviderResponseBytes = 1024 * 1024;

/** Shorter than what servers usually grant (Node 5 s, nginx 75 s), so that a kept socket is rarely a dead one. */
const upstreamKeepAliveMs = 4000;

const poolOptions = {
  connectTimeout: 10_000,
  keepAliveTimeout: upstreamKeepAliveMs,
  keepAliveMaxTimeout: upstreamKeepAliveMs,
  // No limit between two chunks: streams may be silent for hours.
  bodyTimeout: 0,
  maxHeaderSize: 32 * 1024,
  allowH2: false,
} as const;

export interface Outbound {
  /** For the provider only: follows no redirect unless asked, bounded in size. */
  readonly providerFetch: typeof fetch;
  /** The connections to an API or a dev server; one pool for each origin. */
  poolOf(origin: string): Pool;
  close(): Promise<void>;
}

export function createOutbound(): Outbound {
  const provider = new Agent({ connectTimeout: 5000, maxResponseSize: maximumProviderResponseBytes, allowH2: false });
  const pools = new Map<string, Pool>();
  return {
    // undici's own types name the same classes as the platform's, but not to the compiler.
    providerFetch: ((input: string, init: object) =>
      undiciFetch(input, { ...init, dispatcher: provider })) as unknown as typeof fetch,
    poolOf(origin) {
      const pool = pools.get(origin) ?? new Pool(origin, poolOptions);
      pools.set(origin, pool);
      return pool;
    },
    async close() {
      await Promise.all([provider, ...pools.values()].map((dispatcher) => dispatcher.destroy()));
    },
  };
}

/**
 * The `fetch` for the provider: its own connections, explicit time-outs, responses bounded in size, and the proxy that the
 * environment names (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`). Hides undici's agents.
 */
import { readFileSync } from 'node:fs';
import { EnvHttpProxyAgent, fetch as undiciFetch, Response } from 'undici';
import { UnreachableProvider } from './unreachable-provider.ts';

/** Metadata, keys and token responses are small; a larger response is none of these. */
const maximumResponseBytes = 1024 * 1024;

/** Calls at the same time; further ones wait. */
const maximumConnections = 512;

const connectTimeoutMs = 5000;

export interface ProviderFetch {
  /** Bounded in size, also when decompressed. */
  readonly fetch: typeof fetch;
  close(): Promise<void>;
}

/** @param caFile PEM file of the certificate authorities to trust instead of the system's */
export function createProviderFetch({ caFile }: { readonly caFile?: string | undefined }): ProviderFetch {
  const agent = createAgent(caFile === undefined ? {} : { ca: readFileSync(caFile) });
  async function call(address: string, options: { readonly method?: string }): Promise<Response> {
    try {
      return await whole(await undiciFetch(address, { ...options, dispatcher: agent }));
    } catch (cause) {
      throw new UnreachableProvider({ method: options.method ?? 'GET', address }, cause);
    }
  }

  return {
    // undici's classes are the platform's, but the compiler treats the two declarations as different types.
    fetch: call as unknown as typeof fetch,
    close: () => agent.destroy(),
  };
}

/** @throws {Error} for a proxy that cannot be one; names no value, because it may hold a password */
function createAgent(tls: { readonly ca?: Buffer }): EnvHttpProxyAgent {
  const connect = { timeout: connectTimeoutMs, ...tls };
  try {
    return new EnvHttpProxyAgent({
      connect,
      connections: maximumConnections,
      maxResponseSize: maximumResponseBytes,
      allowH2: false,
      // Through a proxy, undici takes the settings of the connection to the provider from here.
      requestTls: connect,
      connectTimeout: connectTimeoutMs,
    });
  } catch (cause) {
    throw new Error('HTTPS_PROXY and HTTP_PROXY must be URLs such as "http://proxy.example.com:3128".', { cause });
  }
}

/**
 * The response with its whole body, because a body that is passed on as a stream costs more than all else of a call. The
 * agent counts the bytes on the wire only, where they may be compressed, and none that come through an http proxy.
 */
async function whole(response: Response): Promise<Response> {
  if (response.body === null) return response;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.length;
    if (size > maximumResponseBytes) throw new TypeError('The answer is too large.');
    chunks.push(chunk);
  }
  return new Response(Buffer.concat(chunks), response);
}

/**
 * The `fetch` for the provider: its own connections, explicit time-outs, responses bounded in size. Hides undici's agent.
 */
import { Agent, fetch as undiciFetch, Response } from 'undici';

/** Metadata, keys and token responses are small; a larger response is none of these. */
const maximumResponseBytes = 1024 * 1024;

/** Calls at the same time; further ones wait. */
const maximumConnections = 512;

export interface ProviderFetch {
  /** Bounded in size, also when decompressed. */
  readonly fetch: typeof fetch;
  close(): Promise<void>;
}

export function createProviderFetch(): ProviderFetch {
  const agent = new Agent({
    connectTimeout: 5000,
    connections: maximumConnections,
    maxResponseSize: maximumResponseBytes,
    allowH2: false,
  });
  return {
    // undici's classes are the platform's, but the compiler treats the two declarations as different types.
    fetch: (async (input: string, init: object) =>
      bounded(await undiciFetch(input, { ...init, dispatcher: agent }))) as unknown as typeof fetch,
    close: () => agent.destroy(),
  };
}

/** The agent counts the bytes on the wire only: a compressed megabyte can decompress to a gigabyte. */
function bounded(response: Response): Response {
  if (response.body === null || !response.headers.has('content-encoding')) return response;
  let size = 0;
  const limit = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      size += chunk.length;
      if (size > maximumResponseBytes) controller.error(new TypeError('The answer is too large.'));
      else controller.enqueue(chunk);
    },
  });
  return new Response(response.body.pipeThrough(limit), response);
}

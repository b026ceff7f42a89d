/**
 * The `retry` field of server-sent events (HTML 9.2.6): after how many milliseconds a client connects again when its
 * stream has ended. It stays with the client as its delay from then on.
 */

/** A random time between two, so that the clients of an instance that stops do not all come back at the same moment. */
export function retryField(fromMs: number, toMs: number = fromMs): string {
  return `retry: ${fromMs + Math.floor(Math.random() * (toMs - fromMs))}\n`;
}

/**
 * One stream of server-sent events (HTML 9.2) on a raw response. Nothing of it fails towards the sender: a client that
 * has left, or that does not read, is cut off, and `onClose` says so.
 */
import type { ServerResponse } from 'node:http';

/** What may wait for a client that does not read, beside one event. */
const maximumWaitingBytes = 64 * 1024;
/** How long a client may take to take the end of its stream. */
const lastWordsMs = 1000;

/** A shared cache must not keep it, and no proxy may compress it, because both hold events back. */
export const streamHeaders = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store, no-transform',
  // For nginx, which else holds back what is less than a buffer.
  'x-accel-buffering': 'no',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
} as const;

export class EventStream {
  readonly #response: ServerResponse;
  /** From before the app disarms the response for Hono, which believes that it is complete. */
  readonly #end: (text: string) => void;

  /** @param response of a client that may have left already: then `onClose` comes soon */
  constructor(response: ServerResponse, onClose: () => void) {
    this.#response = response;
    this.#end = response.end.bind(response);
    // What cannot be written any more ends the stream, which `close` says.
    response.on('error', () => response.destroy());
    if (response.destroyed) process.nextTick(onClose);
    else response.once('close', onClose).writeHead(200, streamHeaders);
  }

  send(text: string): void {
    if (this.#response.writableLength > maximumWaitingBytes) this.#response.destroy();
    if (!this.#response.destroyed) this.#response.write(text);
  }

  /** As {@link send}, a while after the last time: a client that has not taken what came before does not read. */
  sendLater(text: string): void {
    if (this.#response.writableLength > 0) this.#response.destroy();
    else this.send(text);
  }

  /** Ends the stream. A client that does not read would keep its connection, and a server that stops, for ever. */
  end(text: string): void {
    const response = this.#response;
    if (response.destroyed) return;
    const late = setTimeout(() => response.destroy(), lastWordsMs).unref();
    response.once('finish', () => clearTimeout(late));
    this.#end(text);
  }
}

/** @param content what JSON can express, in which no line ends */
export function eventText(name: string, content: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(content)}\n\n`;
}

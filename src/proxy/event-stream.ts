/**
 * As much of the format of server-sent events (HTML 9.2.6) as it takes to end a stream between two events, with a hint
 * when to come again.
 */
import type { IncomingMessage } from 'node:http';
import { retryField } from '../http/retry-field.ts';

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const colon = 0x3a;

/**
 * Whether a client connects again by itself when the stream ends, with the id of the last event that it got, as browsers'
 * `EventSource` does. A script that reads a stream of events with `fetch`, such as the answer of a language model, takes
 * its end for the end of the answer.
 */
export function reconnects({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && headers.accept?.toLowerCase() === 'text/event-stream';
}

/** Follows a stream from line to line. */
export class EventTracker {
  /** A compressed stream shows no lines, and takes none in. */
  readonly #isEncoded: boolean;
  #isLineStart = true;
  /** Lines of an event have passed without the empty line that ends it. Comments, such as heartbeats, are of no event. */
  #hasFields = false;
  #isAfterReturn = false;

  /** @param encoding the stream's `Content-Encoding` */
  constructor(encoding: string | undefined) {
    this.#isEncoded = encoding !== undefined;
  }

  /** Whether the stream may end here. Clients drop an event without an end, and get it again by its predecessor's id. */
  get mayEnd(): boolean {
    return this.#isEncoded || (this.#isLineStart && !this.#hasFields);
  }

  /**
   * Where the stream may end, its last words: they tell the client when to connect again, about as soon as browsers do by
   * themselves, and not all at the same moment. It stays with the client as its delay from then on.
   */
  lastWords(): string {
    return this.#isEncoded ? '' : `${retryField(1000, 4000)}\n`;
  }

  /** Follows a whole chunk. */
  pass(chunk: Uint8Array): void {
    if (!this.#isEncoded) for (const byte of chunk) this.#follow(byte);
  }

  /** Follows the chunk up to the end of the event under way. @returns how many bytes that is, at most all */
  passEvent(chunk: Uint8Array): number {
    let at = 0;
    while (at < chunk.length && !this.mayEnd) this.#follow(chunk[at++] as number);
    return at;
  }

  #follow(byte: number): void {
    const isSecondOfPair = byte === lineFeed && this.#isAfterReturn;
    this.#isAfterReturn = byte === carriageReturn;
    if (isSecondOfPair) return;
    if (byte !== lineFeed && byte !== carriageReturn) {
      if (this.#isLineStart && byte !== colon) this.#hasFields = true;
      this.#isLineStart = false;
    } else if (this.#isLineStart) {
      this.#hasFields = false;
    } else {
      this.#isLineStart = true;
    }
  }
}

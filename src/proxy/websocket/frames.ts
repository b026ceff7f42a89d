/** As much of WebSocket framing (RFC 6455 5.2) as it takes to insert a Close frame into a stream of others' frames. */
import { randomBytes } from 'node:crypto';

const closeOpcode = 0x8;

/**
 * Follows one direction of a WebSocket from frame to frame. Reads headers only: payloads are skipped, never copied, and
 * extensions don't matter.
 */
export class FrameTracker {
  /** A Close frame has passed: no frame may follow it (RFC 6455 5.5.1). */
  closed = false;
  /** Bytes of the current frame's header that have passed. */
  #position = 0;
  /** Length of the header, and where its extended payload length ends; the second byte determines both. */
  #headerLength = 2;
  #lengthEnd = 2;
  /** After the header: bytes of the payload that have not passed yet. */
  #payload = 0;

  /** Whether the stream is between two frames, where a frame may be inserted. */
  get isBetweenFrames(): boolean {
    return this.#position === 0;
  }

  /** Follows a whole chunk. */
  pass(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) at = this.passFrame(chunk, at);
  }

  /**
   * Follows the chunk from `start` to the end of the frame that begins or continues there.
   * @returns where the next frame begins, at most the chunk's length; {@link isBetweenFrames} is true if it was reached
   */
  passFrame(chunk: Uint8Array, start: number): number {
    let at = start;
    while (at < chunk.length) {
      if (this.#position < this.#headerLength) {
        this.#readHeader(chunk[at] as number);
        at++;
      } else {
        const passed = Math.min(this.#payload, chunk.length - at);
        this.#payload -= passed;
        at += passed;
      }
      if (this.#position === this.#headerLength && this.#payload === 0) {
        this.#position = 0;
        this.#headerLength = 2;
        return at;
      }
    }
    return at;
  }

  #readHeader(byte: number): void {
    if (this.#position === 0) {
      if ((byte & 0x0f) === closeOpcode) this.closed = true;
    } else if (this.#position === 1) {
      const length = byte & 0x7f;
      const extension = length === 127 ? 8 : length === 126 ? 2 : 0;
      this.#lengthEnd = 2 + extension;
      this.#headerLength = this.#lengthEnd + (byte & 0x80 ? 4 : 0);
      this.#payload = extension === 0 ? length : 0;
    } else if (this.#position < this.#lengthEnd) {
      this.#payload = this.#payload * 256 + byte;
    }
    this.#position++;
  }
}

/**
 * A Close frame (RFC 6455 5.5.1).
 * @param reason at most 123 bytes
 * @param towardsServer clients mask what they send
 */
export function closeFrame(code: number, reason: string, towardsServer: boolean): Buffer {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
  payload.writeUInt16BE(code);
  payload.write(reason, 2);
  if (!towardsServer) return Buffer.concat([Buffer.from([0x80 | closeOpcode, payload.length]), payload]);
  const mask = randomBytes(4);
  for (const [index, byte] of payload.entries()) payload[index] = byte ^ (mask[index % 4] as number);
  return Buffer.concat([Buffer.from([0x80 | closeOpcode, 0x80 | payload.length]), mask, payload]);
}

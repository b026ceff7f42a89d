/**
 * Joins a client's and an upstream's connection: bytes pass in both directions unchanged, with back-pressure. The end of
 * one direction reaches the other side while the other direction goes on. Can close both sides with a Close frame
 * (RFC 6455 5.5.1).
 */
import type { Duplex } from 'node:stream';
import { closeFrame, FrameTracker } from './frames.ts';

/** How long one direction may be silent after the other has ended: WebSocket needs both directions. */
const halfOpenMs = 60_000;
/** How long a side may take to close after a Close frame. */
const closeTimeoutMs = 5000;

/** Why a tunnel is closed; for the meaning of codes see RFC 6455 7.4. */
export interface CloseReason {
  readonly code: number;
  /** At most 123 bytes. */
  readonly reason: string;
}

export class Tunnel {
  readonly #client: Duplex;
  readonly #upstream: Duplex;
  readonly #fromClient = new FrameTracker();
  readonly #fromUpstream = new FrameTracker();
  #closeReason: CloseReason | undefined;
  #openSides = 2;
  /** Runs from the first end on, and destroys what is still open. */
  #timer: NodeJS.Timeout | undefined;

  /**
   * Both sides must allow half-open connections.
   * @param onClosed called when both connections are closed
   */
  constructor(client: Duplex, upstream: Duplex, onClosed: () => void) {
    this.#client = client;
    this.#upstream = upstream;
    client.on('data', (chunk: Buffer) => this.#toUpstream(chunk));
    upstream.on('data', (chunk: Buffer) => this.#toClient(chunk));
    this.#watch(client, upstream, onClosed);
    this.#watch(upstream, client, onClosed);
  }

  /** Sends a Close frame to both sides and closes them. Nothing more of the client reaches the upstream. */
  close(reason: CloseReason): void {
    if (this.#closeReason !== undefined) return;
    this.#closeReason = reason;
    sendCloseFrame(this.#upstream, this.#fromClient, closeFrame(reason.code, reason.reason, true));
    this.#upstream.end();
    if (this.#fromUpstream.isBetweenFrames) this.#closeClient(reason);
    this.#startCloseTimeout();
    this.#client.resume();
  }

  /** Cuts both connections. */
  destroy(): void {
    this.#client.destroy();
    this.#upstream.destroy();
  }

  #toUpstream(chunk: Buffer): void {
    if (!this.#upstream.writable) return;
    this.#fromClient.pass(chunk);
    this.#timer?.refresh();
    if (!this.#upstream.write(chunk)) this.#client.pause();
  }

  #toClient(chunk: Buffer): void {
    if (!this.#client.writable) return;
    if (this.#closeReason === undefined) {
      this.#timer?.refresh();
      this.#fromUpstream.pass(chunk);
      if (!this.#client.write(chunk)) this.#upstream.pause();
      return;
    }
    // Forward the current frame to its end before sending a Close frame; inside it, the Close frame would be read as
    // payload.
    const end = this.#fromUpstream.passFrame(chunk, 0);
    if (!this.#client.write(chunk.subarray(0, end))) this.#upstream.pause();
    if (this.#fromUpstream.isBetweenFrames) this.#closeClient(this.#closeReason);
  }

  #closeClient({ code, reason }: CloseReason): void {
    sendCloseFrame(this.#client, this.#fromUpstream, closeFrame(code, reason, false));
    this.#client.end();
    this.#upstream.resume();
  }

  #watch(side: Duplex, other: Duplex, onClosed: () => void): void {
    side.on('drain', () => other.resume());
    side.on('end', () => {
      other.end();
      this.#timer ??= setTimeout(() => this.destroy(), halfOpenMs).unref();
    });
    // `close` follows and is handled; a broken connection is no error of Sallyport's.
    side.on('error', () => side.destroy());
    side.on('close', () => {
      if (--this.#openSides === 0) {
        clearTimeout(this.#timer);
        onClosed();
        return;
      }
      // Bytes read before the connection broke are still delivered; bytes that arrive now have no destination.
      other.end();
      other.resume();
      this.#startCloseTimeout();
    });
    side.resume();
  }

  #startCloseTimeout(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.destroy(), closeTimeoutMs).unref();
  }
}

function sendCloseFrame(side: Duplex, sent: FrameTracker, frame: Buffer): void {
  if (side.writable && sent.isBetweenFrames && !sent.closed) side.write(frame);
}

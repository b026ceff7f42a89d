/**
 * Joins a client's and an upstream's connection: bytes pass in both directions unchanged, with back-pressure. The end of
 * one direction reaches the other side while the other direction goes on. Can close both sides with a Close frame
 * (RFC 6455 5.5.1).
 */
import type { Duplex } from 'node:stream';
import { closeFrame } from './frames.ts';
import { TunnelEnd } from './tunnel-end.ts';

/** How long one direction may be silent after the other has ended: WebSocket needs both directions. */
const halfOpenMs = 60_000;
/** How long a side may take to close after a Close frame. */
const closeTimeoutMs = 5000;
/** How long a side may take to answer a Close frame: more than a round trip of a slow network, or of a near one. */
const clientAnswerMs = 1500;
const upstreamAnswerMs = 500;

/** Why a tunnel is closed; for the meaning of codes see RFC 6455 7.4. */
export interface CloseReason {
  readonly code: number;
  /** At most 123 bytes. */
  readonly reason: string;
}

export class Tunnel {
  readonly #client: TunnelEnd;
  readonly #upstream: TunnelEnd;
  #closeReason: CloseReason | undefined;
  #openSides = 2;
  /** Runs from the first end on, and destroys what is still open. */
  #timer: NodeJS.Timeout | undefined;

  /**
   * Both sides must allow half-open connections.
   * @param onClosed called when both connections are closed
   */
  constructor(client: Duplex, upstream: Duplex, onClosed: () => void) {
    this.#client = new TunnelEnd(client, clientAnswerMs);
    this.#upstream = new TunnelEnd(upstream, upstreamAnswerMs);
    client.on('data', (chunk: Buffer) => this.#fromClient(chunk));
    upstream.on('data', (chunk: Buffer) => this.#fromUpstream(chunk));
    this.#watch(this.#client, this.#upstream, onClosed);
    this.#watch(this.#upstream, this.#client, onClosed);
  }

  /** Sends a Close frame to both sides and closes them. Nothing more of the client reaches the upstream. */
  close(reason: CloseReason, { code, reason: words }: CloseReason = reason): void {
    if (this.#closeReason !== undefined) return;
    this.#closeReason = reason;
    if (this.#client.sent.isBetweenFrames) this.#upstream.tellToClose(closeFrame(code, words, true));
    this.#upstream.end();
    if (this.#upstream.sent.isBetweenFrames) this.#closeClient(reason);
    this.#startCloseTimeout();
    this.#client.socket.resume();
  }

  /** Cuts both connections. */
  destroy(): void {
    this.#client.socket.destroy();
    this.#upstream.socket.destroy();
  }

  #fromClient(chunk: Buffer): void {
    if (this.#closeReason === undefined) this.#pass(chunk, this.#client, this.#upstream);
    else this.#client.follow(chunk);
  }

  #fromUpstream(chunk: Buffer): void {
    if (this.#closeReason === undefined) {
      this.#pass(chunk, this.#upstream, this.#client);
      return;
    }
    // Forward the current frame to its end before sending a Close frame; inside it, the Close frame would be read as
    // payload.
    const end = this.#upstream.sent.isBetweenFrames ? 0 : this.#upstream.sent.passFrame(chunk, 0);
    if (end > 0) {
      this.#write(chunk.subarray(0, end), this.#upstream, this.#client);
      if (this.#upstream.sent.isBetweenFrames) this.#closeClient(this.#closeReason);
    }
    this.#upstream.follow(chunk.subarray(end));
  }

  /** Follows the sender's frames also where nobody takes them any more: its answer to a Close frame is awaited. */
  #pass(chunk: Buffer, from: TunnelEnd, to: TunnelEnd): void {
    if (to.socket.writable) this.#timer?.refresh();
    from.sent.pass(chunk);
    this.#write(chunk, from, to);
    from.endIfAnswered();
  }

  #write(chunk: Buffer, from: TunnelEnd, to: TunnelEnd): void {
    if (!to.socket.writable) return;
    if (!to.socket.write(chunk)) from.socket.pause();
    if (from.sent.closed) to.toldToClose = true;
  }

  #closeClient({ code, reason }: CloseReason): void {
    this.#client.tellToClose(closeFrame(code, reason, false));
    this.#client.end();
    this.#upstream.socket.resume();
  }

  #watch(side: TunnelEnd, other: TunnelEnd, onClosed: () => void): void {
    const { socket } = side;
    socket.on('drain', () => other.socket.resume());
    socket.on('end', () => {
      side.endIfAnswered();
      other.end();
      this.#timer ??= setTimeout(() => this.destroy(), halfOpenMs).unref();
    });
    // `close` follows and is handled; a broken connection is no error of Sallyport's.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      if (--this.#openSides === 0) {
        clearTimeout(this.#timer);
        onClosed();
        return;
      }
      // Bytes read before the connection broke are still delivered; bytes that arrive now have no destination.
      other.end();
      other.socket.resume();
      this.#startCloseTimeout();
    });
    socket.resume();
  }

  #startCloseTimeout(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.destroy(), closeTimeoutMs).unref();
  }
}

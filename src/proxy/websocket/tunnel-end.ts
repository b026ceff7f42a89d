/**
 * One side of a tunnel and its closing handshake (RFC 6455 7.1.1): a side that got a Close frame answers with one, and the
 * connection to it ends only then. A proxy in between, such as nginx, passes nothing on to a connection that has ended, so
 * that a browser could not answer, and would report an abnormal closure.
 */
import type { Duplex } from 'node:stream';
import { FrameTracker } from './frames.ts';

export class TunnelEnd {
  readonly socket: Duplex;
  /** Follows the frames that the side sends. */
  readonly sent = new FrameTracker();
  /** Whether a Close frame was sent to it, the other side's or one of our own. */
  toldToClose = false;
  readonly #answerMs: number;
  /** Whether the connection to it is to end, now or with its answer. */
  #isEnding = false;
  #answerTimer: NodeJS.Timeout | undefined;

  /** @param answerMs how long the side may take to answer a Close frame */
  constructor(socket: Duplex, answerMs: number) {
    this.socket = socket;
    this.#answerMs = answerMs;
    socket.once('close', () => clearTimeout(this.#answerTimer));
  }

  /** Sends a Close frame, unless it has had one: no frame may follow it (RFC 6455 5.5.1). */
  tellToClose(frame: Buffer): void {
    if (this.toldToClose || !this.socket.writable) return;
    this.socket.write(frame);
    this.toldToClose = true;
  }

  /** Ends the connection to the side; if it was told to close, when it has answered or has taken too long. */
  end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    if (this.#owesAnswer()) this.#answerTimer = setTimeout(() => this.socket.end(), this.#answerMs).unref();
    else this.socket.end();
  }

  /** Follows bytes that go nowhere. */
  follow(chunk: Buffer): void {
    this.sent.pass(chunk);
    this.endIfAnswered();
  }

  /** Ends a connection that has waited for the side's answer, or for its end. */
  endIfAnswered(): void {
    if (!this.#isEnding || this.#owesAnswer()) return;
    clearTimeout(this.#answerTimer);
    this.socket.end();
  }

  #owesAnswer(): boolean {
    const hasAnswered = this.sent.closed && this.sent.isBetweenFrames;
    return this.toldToClose && !hasAnswered && !this.socket.readableEnded && !this.socket.destroyed;
  }
}

/**
 * A client's and an upstream's connection joined: bytes pass both ways as they are, with back-pressure, and each side's
 * end reaches the other while the other direction goes on. Can say goodbye to both sides in WebSocket's own words.
 */
import type { Duplex } from 'node:stream';
import { closeFrame, FrameTracker } from './frames.ts';

/** How long one direction may be silent when the other has ended: nobody speaks WebSocket over half a connection. */
const halfOpenMs = 60_000;
/** How long a side may take to hang up when it was told to. */
const goodbyeMs = 5000;

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
  #goodbye: CloseReason | undefined;
  #sidesLeft = 2;
  /** Runs from the first end on; ends what is left. */
  #timer: NodeJS.Timeout | undefined;

  /**
   * Both sides must allow half-open connections.
   * @param onClosed called when both connections are closed
   */
  constructor(client: Duplex, upstream: Duplex, onClosed: () => void) {
    this.#client = client;
    this.#upstream = upstream;
    client.on('data', (chunk: Buffer) => this.#passUp(chunk));
    upstream.on('data', (chunk: Buffer) => this.#passDown(chunk));
    this.#attend(client, upstream, onClosed);
    this.#attend(upstream, client, onClosed);
  }

  /** Sends a Close frame to both sides and hangs up. Nothing more of the client reaches the upstream. */
  close(goodbye: CloseReason): void {
    if (this.#goodbye !== undefined) return;
    this.#goodbye = goodbye;
    sendCloseFrame(this.#upstream, this.#fromClient, closeFrame(goodbye.code, goodbye.reason, true));
    this.#upstream.end();
    if (this.#fromUpstream.isBetweenFrames) this.#dismissClient(goodbye);
    this.#hurry();
    this.#client.resume();
  }

  /** Cuts both connections. */
  destroy(): void {
    this.#client.destroy();
    this.#upstream.destroy();
  }

  #passUp(chunk: Buffer): void {
    if (!this.#upstream.writable) return;
    this.#fromClient.pass(chunk);
    this.#timer?.refresh();
    if (!this.#upstream.write(chunk)) this.#client.pause();
  }

  #passDown(chunk: Buffer): void {
    if (!this.#client.writable) return;
    if (this.#goodbye === undefined) {
      this.#timer?.refresh();
      this.#fromUpstream.pass(chunk);
      if (!this.#client.write(chunk)) this.#upstream.pause();
      return;
    }
    // The frame that was under way is brought to its end, for a Close frame inside it would be taken for its content.
    const end = this.#fromUpstream.passFrame(chunk, 0);
    if (!this.#client.write(chunk.subarray(0, end))) this.#upstream.pause();
    if (this.#fromUpstream.isBetweenFrames) this.#dismissClient(this.#goodbye);
  }

  #dismissClient({ code, reason }: CloseReason): void {
    sendCloseFrame(this.#client, this.#fromUpstream, closeFrame(code, reason, false));
    this.#client.end();
    this.#upstream.resume();
  }

  #attend(side: Duplex, other: Duplex, onClosed: () => void): void {
    side.on('drain', () => other.resume());
    side.on('end', () => {
      other.end();
      this.#timer ??= setTimeout(() => this.destroy(), halfOpenMs).unref();
    });
    // What broke shows in `close`, which follows, and is nobody's fault here.
    side.on('error', () => side.destroy());
    side.on('close', () => {
      if (--this.#sidesLeft === 0) {
        clearTimeout(this.#timer);
        onClosed();
        return;
      }
      // What was read before a connection broke is still delivered; what comes now has nowhere to go.
      other.end();
      other.resume();
      this.#hurry();
    });
    side.resume();
  }

  #hurry(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.destroy(), goodbyeMs).unref();
  }
}

function sendCloseFrame(side: Duplex, before: FrameTracker, frame: Buffer): void {
  if (side.writable && before.isBetweenFrames && !before.closed) side.write(frame);
}

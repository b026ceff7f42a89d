/** What a tab hears of its session by `GET /bff/events`. */
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { onTestFinished } from 'vitest';
import type { BrowserClient } from './browser-client.ts';
import { within } from './world.ts';

export interface HeardEvent {
  readonly name: string;
  readonly content: Readonly<Record<string, unknown>>;
  /** Of `performance.now()`. */
  readonly at: number;
}

/** A stream of session events, read as browsers read it (HTML 9.2.6). */
export class SessionEvents {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly events: HeardEvent[] = [];
  /** How many comments came. */
  comments = 0;
  /** The newest delay before a client connects again, in milliseconds. */
  retryMs: number | undefined;
  /** Everything that came. */
  text = '';
  /** Whether the stream has ended, in order or broken off. */
  end: 'complete' | 'broken' | undefined;
  readonly #response: IncomingMessage;
  readonly #listeners = new Set<() => void>();
  #rest: string[] = [];

  constructor(response: IncomingMessage) {
    this.#response = response;
    this.status = response.statusCode ?? 0;
    this.headers = response.headers;
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      this.text += chunk;
      this.#read(chunk);
      this.#notify();
    });
    response.on('error', () => undefined);
    response.on('close', () => {
      this.end = response.complete ? 'complete' : 'broken';
      this.#notify();
    });
  }

  #read(chunk: string): void {
    this.#rest.push(chunk);
    // To look through all that came, at each chunk, takes seconds for an event of 8 MB.
    if (!chunk.includes('\n')) return;
    const blocks = this.#rest.join('').split('\n\n');
    this.#rest = [blocks.pop() ?? ''];
    for (const block of blocks) this.#readBlock(block.split('\n'));
  }

  #readBlock(lines: readonly string[]): void {
    const fields = new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]));
    if (lines.some((line) => line.startsWith(':'))) this.comments += 1;
    const retry = fields.get('retry');
    if (retry !== undefined) this.retryMs = Number(retry);
    const data = fields.get('data');
    if (data === undefined) return;
    const content = JSON.parse(data) as HeardEvent['content'];
    this.events.push({ name: fields.get('event') ?? 'message', content, at: performance.now() });
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Resolves as soon as it holds. */
  until(holds: (stream: this) => boolean, seconds = 5): Promise<void> {
    const held = new Promise<void>((resolve) => {
      const look = () => {
        if (!holds(this)) return;
        this.#listeners.delete(look);
        resolve();
      };
      this.#listeners.add(look);
      look();
    });
    return within(seconds, held, `not so: ${holds.toString()} after ${JSON.stringify(this.text.slice(-500))}`);
  }

  /** The next event after so many. */
  async event(index: number, seconds = 5): Promise<HeardEvent> {
    await this.until(({ events }) => events.length > index, seconds);
    return this.events[index] as HeardEvent;
  }

  /** The `signed-out` that ends the stream. */
  async signedOut(seconds = 5): Promise<HeardEvent> {
    await this.until(({ end }) => end !== undefined, seconds);
    const last = this.events.at(-1);
    if (last?.name !== 'signed-out') throw new Error(`no sign-out, but ${JSON.stringify(this.text)}`);
    return last;
  }

  leave(): void {
    this.#response.destroy();
  }
}

export interface FollowOptions {
  readonly port: number;
  /** Replace those of a page of the app; null takes one away. */
  readonly headers?: Readonly<Record<string, string | null>>;
  readonly path?: string;
}

/** Opens a stream as the `EventSource` of a page does. Ends with the test. */
export function follow(
  browser: BrowserClient,
  { port, headers = {}, path = '/bff/events' }: FollowOptions,
): Promise<SessionEvents> {
  const cookie = browser.cookieHeader();
  const all = {
    host: new URL(browser.origin).host,
    accept: 'text/event-stream',
    'cache-control': 'no-cache',
    'sec-fetch-site': 'same-origin',
    'sec-fetch-mode': 'cors',
    'sec-fetch-dest': 'empty',
    ...(cookie === undefined ? {} : { cookie }),
    ...headers,
  };
  const sent = Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null));
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, path, headers: sent, agent: false });
    request.on('response', (response) => resolve(new SessionEvents(response)));
    request.on('error', reject);
    onTestFinished(() => void request.destroy());
    request.end();
  });
}

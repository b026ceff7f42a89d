/**
 * HTTP/1.1 as it stands on the wire: responses read byte for byte, with what clients usually hide (framing, interim
 * responses, trailers, how the connection ended), and calls whose bytes the test writes itself.
 */
import { connect, type Socket } from 'node:net';
import type { BrowserClient } from './browser-client.ts';

/** Names as they were written, and values as they stand on the wire, one byte a character. */
export type Field = readonly [name: string, value: string];

export interface WireResponse {
  readonly status: number;
  readonly reason: string;
  readonly fields: readonly Field[];
  readonly body: Buffer;
  readonly trailers: readonly Field[];
  readonly framing: 'none' | 'length' | 'chunked' | 'close';
  /** Whether the body came to the end that its framing promises. */
  readonly complete: boolean;
}

export interface WireExchange {
  /** Interim responses, then the final one, then whatever came after it. */
  readonly responses: readonly WireResponse[];
  /** What came besides and is no response. */
  readonly surplus: Buffer;
  /** How the other side left: closed (FIN), reset (RST), or not at all, when this side ended it. */
  readonly end: 'closed' | 'reset' | 'open';
}

/** A connection to a loopback port that keeps all it receives. */
export class Wire {
  readonly socket: Socket;
  readonly #chunks: { bytes: Buffer; at: number }[] = [];
  readonly #method: string;
  #end: WireExchange['end'] = 'open';

  /** @param method of the request, for a response to HEAD has no body whatever its fields say */
  constructor(port: number, method = 'GET') {
    this.#method = method;
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    this.socket.on('data', (bytes) => this.#chunks.push({ bytes, at: performance.now() }));
    this.socket.on('end', () => {
      this.#end = 'closed';
    });
    this.socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET' || error.code === 'EPIPE') this.#end = 'reset';
      else throw error;
    });
  }

  write(bytes: string | Buffer): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  }

  /** What came so far, and when. */
  get chunks(): readonly { readonly bytes: Buffer; readonly at: number }[] {
    return this.#chunks;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks.map(({ bytes }) => bytes));
  }

  get responses(): readonly WireResponse[] {
    return this.#read().responses;
  }

  #read(): Pick<WireExchange, 'responses' | 'surplus'> {
    return readResponses(this.bytes, this.#method, this.#end === 'closed');
  }

  get end(): WireExchange['end'] {
    return this.#end;
  }

  /** Resolves when what came so far satisfies the condition. */
  until(condition: (wire: Wire) => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (condition(this)) settle(resolve);
        else if (this.#end !== 'open') settle(() => reject(new Error(`ended too early: ${describe(this.bytes)}`)));
      };
      const settle = (outcome: () => void) => {
        this.socket.off('data', look).off('end', look).off('error', look);
        outcome();
      };
      this.socket.on('data', look).on('end', look).on('error', look);
      look();
    });
  }

  /** Resolves when the other side has ended the connection. */
  ended(): Promise<WireExchange> {
    return new Promise((resolve) => {
      const look = () => {
        if (this.#end === 'open') return;
        this.socket.destroy();
        resolve({ ...this.#read(), end: this.#end });
      };
      this.socket.on('end', look).on('error', look).on('close', look);
      look();
    });
  }

  /** Resolves with the final response when it is complete, and leaves. */
  async answered(): Promise<WireExchange> {
    await this.until(({ responses }) => responses.some(({ status, complete }) => status >= 200 && complete));
    const exchange = { ...this.#read(), end: this.#end };
    this.socket.destroy();
    return exchange;
  }
}

/** Sends bytes and resolves with what came when the other side has closed. */
export function exchange(port: number, bytes: string | Buffer): Promise<WireExchange> {
  const wire = new Wire(port, /^\S+/.exec(bytes.toString('latin1').slice(0, 40))?.[0]);
  wire.write(bytes);
  return wire.ended();
}

/** The final one of an exchange's responses; fails where none came. */
export function finalOf({ responses }: WireExchange): WireResponse {
  const final = responses.find(({ status }) => status >= 200);
  if (final === undefined) throw new Error('no final response came');
  return final;
}

/** The values of a field, in their order. */
export function valuesOf(fields: readonly Field[], name: string): string[] {
  return fields.filter(([other]) => other.toLowerCase() === name).map(([, value]) => value);
}

/** The head of a call of a signed-in browser, for its bytes to be written by hand; without the empty line at its end. */
export function callHead(browser: BrowserClient, method: string, target: string, version = '1.1'): string {
  const { host } = new URL(browser.origin);
  return (
    `${method} ${target} HTTP/${version}\r\nHost: ${host}\r\nSec-Fetch-Site: same-origin\r\n` +
    `Cookie: ${browser.cookieHeader() ?? ''}\r\n`
  );
}

/** A body in chunks of the given lengths, over and over, with trailer fields after them. */
export function chunked(body: Buffer, lengths: readonly number[], trailers = ''): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0, index = 0; at < body.length; index += 1) {
    const part = body.subarray(at, at + (lengths[index % lengths.length] ?? body.length));
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n'));
    at += part.length;
  }
  return Buffer.concat([...parts, Buffer.from(`0\r\n${trailers}\r\n`, 'latin1')]);
}

/** @param closed whether the connection has ended in order, which completes a body without framing */
function readResponses(bytes: Buffer, method: string, closed: boolean): Pick<WireExchange, 'responses' | 'surplus'> {
  const responses: WireResponse[] = [];
  let rest = bytes;
  while (rest.length > 0) {
    const headEnd = rest.indexOf('\r\n\r\n');
    if (headEnd === -1) break;
    const [statusLine = '', ...lines] = rest.subarray(0, headEnd).toString('latin1').split('\r\n');
    const match = /^HTTP\/1\.[01] (\d{3})(?: (.*))?$/.exec(statusLine);
    if (match === null) break;
    const head = { status: Number(match[1]), reason: match[2] ?? '', fields: lines.map(fieldOf) };
    const body = readBody(head, method, rest.subarray(headEnd + 4), closed);
    responses.push({ ...head, ...body.read });
    rest = rest.subarray(headEnd + 4 + body.length);
    if (!body.read.complete) break;
  }
  return { responses, surplus: rest };
}

type ReadBody = Pick<WireResponse, 'body' | 'trailers' | 'framing' | 'complete'>;

function readBody(
  { status, fields }: Pick<WireResponse, 'status' | 'fields'>,
  method: string,
  bytes: Buffer,
  closed: boolean,
): { read: ReadBody; length: number } {
  const bare = { body: Buffer.alloc(0), trailers: [], complete: true };
  if (status < 200 || status === 204 || status === 304 || method === 'HEAD') {
    return { read: { ...bare, framing: 'none' }, length: 0 };
  }
  if (valuesOf(fields, 'transfer-encoding').join().toLowerCase() === 'chunked') return readChunks(bytes);
  const [length] = valuesOf(fields, 'content-length');
  if (length === undefined) {
    return { read: { ...bare, body: bytes, framing: 'close', complete: closed }, length: bytes.length };
  }
  const body = bytes.subarray(0, Number(length));
  return { read: { ...bare, body, framing: 'length', complete: body.length === Number(length) }, length: body.length };
}

function readChunks(bytes: Buffer): { read: ReadBody; length: number } {
  const parts: Buffer[] = [];
  let at = 0;
  const cutOff = () => ({
    read: { body: Buffer.concat(parts), trailers: [], framing: 'chunked', complete: false } as const,
    length: bytes.length,
  });
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd === -1) return cutOff();
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    if (Number.isNaN(size)) return cutOff();
    if (size === 0) break;
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
    if (at > bytes.length) return cutOff();
  }
  const trailerAt = bytes.indexOf('\r\n', at) + 2;
  const end = bytes.indexOf('\r\n\r\n', at);
  if (end === -1) return cutOff();
  const lines = end < trailerAt ? [] : bytes.toString('latin1', trailerAt, end).split('\r\n');
  return {
    read: { body: Buffer.concat(parts), trailers: lines.map(fieldOf), framing: 'chunked', complete: true },
    length: end + 4,
  };
}

function fieldOf(line: string): Field {
  const colon = line.indexOf(':');
  return [line.slice(0, colon), line.slice(colon + 1).replaceAll(/^[ \t]+|[ \t]+$/g, '')];
}

function describe(bytes: Buffer): string {
  return JSON.stringify(bytes.toString('latin1').slice(0, 300));
}

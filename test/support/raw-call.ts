/** Calls spelled out by hand: for targets, names and framings that no HTTP client would send. */
import type { BrowserClient } from './browser-client.ts';
import { rawRequest } from './raw.ts';
import type { World } from './world.ts';

export interface RawCall {
  method?: string;
  target: string;
  /** Header lines as they go out, between those that a signed-in browser sends and the end of the head. */
  lines?: readonly string[];
  body?: string;
  /** Leave out `Host`. */
  withoutHost?: boolean;
}

/** The request of a signed-in browser's script, byte for byte (a character is a byte). */
export function rawCall(world: World, browser: BrowserClient, call: RawCall): Buffer {
  const { method = 'GET', target, lines = [], body = '', withoutHost = false } = call;
  const head = [
    `${method} ${target} HTTP/1.1`,
    ...(withoutHost ? [] : [`Host: ${new URL(world.origin).host}`]),
    `Cookie: ${browser.cookieHeader() ?? ''}`,
    'Sec-Fetch-Site: same-origin',
    'Sec-Fetch-Mode: cors',
    'Sec-Fetch-Dest: empty',
    ...lines,
  ];
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`, 'latin1');
}

/** Sends it, asks for the connection to be closed, and answers what came back. */
export async function sendRaw(world: World, browser: BrowserClient, call: RawCall): Promise<string> {
  const lines = [...(call.lines ?? []), 'Connection: close'];
  return (await rawRequest(world.server.port, rawCall(world, browser, { ...call, lines }))).toString('latin1');
}

/**
 * A target whose path has nothing encoded that needs no encoding, which means the same (RFC 3986 6.2.2.2); the query is
 * nobody's business.
 */
export function withPlainLetters(url: string): string {
  const [path = '', ...query] = url.split('?');
  const plain = path.replace(/%(?:2d|2e|3\d|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])/gi, (escape) =>
    decodeURIComponent(escape),
  );
  return [plain, ...query].join('?');
}

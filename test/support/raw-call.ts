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

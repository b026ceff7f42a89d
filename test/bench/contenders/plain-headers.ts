/** The headers that the proxies without a session forward, in both directions. */
import type { IncomingMessage } from 'node:http';

import type { Dispatcher } from 'undici';

const notForwarded = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'host',
  'cookie',
  'authorization',
]);

/** The client's headers and those that Sallyport adds as well, as a flat list. */
export function upstreamHeaders(request: IncomingMessage, authorization: string): string[] {
  const raw = request.rawHeaders;
  const headers: string[] = [];
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index];
    const value = raw[index + 1];
    if (name === undefined || value === undefined || notForwarded.has(name.toLowerCase())) continue;
    headers.push(name, value);
  }
  headers.push(
    'authorization',
    authorization,
    'x-forwarded-for',
    request.socket.remoteAddress ?? '',
    'x-forwarded-host',
    request.headers.host ?? '',
    'x-forwarded-proto',
    'http',
  );
  return headers;
}

/** The response's headers, as a flat list. */
export function clientHeaders(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  const headers: string[] = [];
  if (!Array.isArray(raw)) return headers;
  for (let index = 0; index < raw.length; index += 2) {
    const name = String(raw[index]);
    if (!notForwarded.has(name.toLowerCase())) headers.push(name, String(raw[index + 1]));
  }
  return headers;
}

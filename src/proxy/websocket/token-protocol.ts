/**
 * The access token as a WebSocket sub-protocol, for APIs that read it from `Sec-WebSocket-Protocol` since browsers can
 * set no other header there. Here it goes upstream only, and the browser never hears of it.
 */
import type { IncomingHttpHeaders } from 'node:http';

const header = 'sec-websocket-protocol';

/**
 * Adds the protocol `<prefix><token>` to those that the client offers.
 * @param headers flat list of names and values
 */
export function withTokenProtocol(headers: readonly string[], prefix: string, token: string): string[] {
  const kept: string[] = [];
  const offered: string[] = [];
  for (let index = 0; index < headers.length; index += 2) {
    const [name, value] = [headers[index] as string, headers[index + 1] as string];
    if (name.toLowerCase() === header) offered.push(...value.split(',').map((protocol) => protocol.trim()));
    else kept.push(name, value);
  }
  // What a client offers in this form is its own word about who it is, as an `Authorization` of its own would be.
  const believed = offered.filter((protocol) => !carriesToken(protocol, prefix));
  kept.push(header, [...believed, prefix + encode(prefix, token)].join(', '));
  return kept;
}

/** The answer's headers without a protocol that carries the token. */
export function withoutTokenProtocol(headers: IncomingHttpHeaders, prefix: string): IncomingHttpHeaders {
  const selected = headers[header];
  return selected !== undefined && carriesToken(selected, prefix) ? { ...headers, [header]: undefined } : headers;
}

function carriesToken(protocol: string, prefix: string): boolean {
  return protocol.toLowerCase().startsWith(prefix.toLowerCase());
}

/** Kubernetes' form, `base64url.bearer.authorization.k8s.io.<token>`, says by itself how the token is to be written. */
function encode(prefix: string, token: string): string {
  return prefix.startsWith('base64url.') ? Buffer.from(token).toString('base64url') : token;
}

/**
 * The access token as a WebSocket sub-protocol (RFC 6455 1.9), for APIs that read it from `Sec-WebSocket-Protocol`,
 * because browsers can set no other header of an upgrade request. Sallyport sends it upstream only; the browser never
 * sees it.
 */
import type { IncomingHttpHeaders } from 'node:http';

const header = 'sec-websocket-protocol';

/**
 * Adds the protocol `<prefix><token>` to those that the client offers.
 * @param headers flat list of names and values
 * @param token undefined for a call that carries none
 */
export function withTokenProtocol(headers: readonly string[], prefix: string, token: string | undefined): string[] {
  const others: string[] = [];
  const offered: string[] = [];
  for (let index = 0; index < headers.length; index += 2) {
    const [name, value] = [headers[index] as string, headers[index + 1] as string];
    if (name.toLowerCase() === header) offered.push(...value.split(',').map((protocol) => protocol.trim()));
    else others.push(name, value);
  }
  // A client's own token in this form is dropped, as its own `Authorization` header is.
  const accepted = offered.filter((protocol) => !carriesToken(protocol, prefix));
  if (token !== undefined) accepted.push(prefix + encode(prefix, token));
  return accepted.length === 0 ? others : [...others, header, accepted.join(', ')];
}

/** The response's headers without a protocol that carries the token. */
export function withoutTokenProtocol(headers: IncomingHttpHeaders, prefix: string): IncomingHttpHeaders {
  const selected = headers[header];
  return selected !== undefined && carriesToken(selected, prefix) ? { ...headers, [header]: undefined } : headers;
}

function carriesToken(protocol: string, prefix: string): boolean {
  return protocol.toLowerCase().startsWith(prefix.toLowerCase());
}

/** Kubernetes' prefix, `base64url.bearer.authorization.k8s.io.<token>`, names the encoding of the token. */
function encode(prefix: string, token: string): string {
  return prefix.startsWith('base64url.') ? Buffer.from(token).toString('base64url') : token;
}

/** Why a call to the provider failed, in a sentence with its remedy. Hides the codes of Node, OpenSSL and undici. */

/** A call that brought no response. A `TypeError`, as `fetch` throws. The cause has the words of the library. */
export class UnreachableProvider extends TypeError {
  constructor(call: { readonly method: string; readonly address: string }, cause: unknown) {
    const { origin, pathname } = new URL(call.address);
    super(`${call.method} ${origin}${pathname}: ${sentenceOf(cause)}${proxyHint()}`, { cause });
    this.name = 'UnreachableProvider';
  }
}

const unknownAuthority =
  'its certificate is of an authority that is not trusted here; name that authority with SALLYPORT_PROVIDER_CA_FILE';
const brokenConnection = 'the connection was closed before the answer was complete';
const noConnection = 'no connection could be opened in time';
const noAnswer = 'there was no answer in time (SALLYPORT_PROVIDER_TIMEOUT)';
const noWay = 'there is no way to it in the network';
const tooLarge = 'the answer is too large';
const noTls = 'it speaks no TLS there; correct the port, or https: in the address';
const certificateRefused = 'it refuses the client certificate of SALLYPORT_CLIENT_CERT_FILE';
const noTunnel = 'the proxy that HTTPS_PROXY names makes no connection to it';

const sentences: Readonly<Record<string, string>> = {
  ENOTFOUND: 'the name of the host is unknown',
  EAI_AGAIN: 'the name of the host cannot be looked up now',
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: brokenConnection,
  EPIPE: brokenConnection,
  UND_ERR_SOCKET: brokenConnection,
  ETIMEDOUT: noConnection,
  UND_ERR_CONNECT_TIMEOUT: noConnection,
  UND_ERR_HEADERS_TIMEOUT: noAnswer,
  UND_ERR_BODY_TIMEOUT: noAnswer,
  TimeoutError: noAnswer,
  EHOSTUNREACH: noWay,
  ENETUNREACH: noWay,
  UND_ERR_RES_EXCEEDED_MAX_SIZE: tooLarge,
  UND_ERR_HEADERS_OVERFLOW: tooLarge,
  // Decompressed.
  ERR_BUFFER_TOO_LARGE: tooLarge,
  UND_ERR_ABORTED: noTunnel,
  UND_ERR_PRX_CONN: noTunnel,
  UND_ERR_PRX_TLS: 'the certificate of the proxy that HTTPS_PROXY names is for another host',
  DEPTH_ZERO_SELF_SIGNED_CERT: unknownAuthority,
  SELF_SIGNED_CERT_IN_CHAIN: unknownAuthority,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownAuthority,
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: "its certificate is not valid yet; check this machine's clock",
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: certificateRefused,
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: certificateRefused,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: certificateRefused,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED: certificateRefused,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: certificateRefused,
  EPROTO: noTls,
  ERR_SSL_WRONG_VERSION_NUMBER: noTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: noTls,
};

/** For codes of which there are many, by how they begin. */
const families: ReadonlyArray<readonly [prefix: string, sentence: string]> = [
  ['HPE_', 'what it answers is not HTTP; correct the port, or http: in the address'],
  ['ERR_SSL_', 'the TLS handshake failed'],
];

function sentenceOf(cause: unknown): string {
  for (let error = cause; error instanceof Error; error = error.cause) {
    const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
    const sentence = sentences[code] ?? families.find(([prefix]) => code.startsWith(prefix))?.[1];
    if (sentence !== undefined) return `${sentence} (${code})`;
  }
  return 'the call failed';
}

/** With a proxy, a host that is unknown or refuses may be the proxy itself. */
function proxyHint(): string {
  const { env } = process;
  const isSet = [env['https_proxy'], env['HTTPS_PROXY'], env['http_proxy'], env['HTTP_PROXY']].some(Boolean);
  return isSet ? '; HTTPS_PROXY or HTTP_PROXY is set, check NO_PROXY, too' : '';
}

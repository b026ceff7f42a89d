/** TLS before a test provider, as in production: the issuer is https, the authority is one that this process trusts. */
import { request as httpRequest } from 'node:http';
import { createServer } from 'node:https';
import { getCACertificates, setDefaultCACertificates, type TLSSocket } from 'node:tls';
import { onTestFinished } from 'vitest';
import { abortWith, closeNow, listen, readBody, trackSockets } from './listener.ts';
import { certificateHeaders } from './provider-clients.ts';
import type { TestProvider } from './provider.ts';
import { makeCertificate } from './tls.ts';

export interface HttpsFront {
  /** `https://localhost:PORT`. */
  readonly issuer: string;
  /** PEM of its certificate, which is its own authority. */
  readonly certificate: string;
  /** Puts a provider behind it, and has it call itself by the new name. */
  readonly serve: (provider: TestProvider) => void;
  /** Puts a provider behind it that has another name. */
  readonly forward: (provider: TestProvider) => void;
}

export interface HttpsFrontOptions {
  /** `false` leaves its authority unknown to this process. Default true. */
  readonly trusted?: boolean;
  /** Asks clients for a certificate (RFC 8705), and says to the provider whether one of these authorities made it. */
  readonly clientAuthorities?: readonly string[];
}

/** Starts the front, for one test. Browsers are sent to the provider itself: `client.routeTo(provider.port, issuer)`. */
export async function startHttpsFront(options: HttpsFrontOptions = {}): Promise<HttpsFront> {
  const { trusted: isTrusted = true, clientAuthorities } = options;
  const { key, cert } = await makeCertificate();
  const trusted = getCACertificates('default');
  if (isTrusted) setDefaultCACertificates([...trusted, cert]);
  let providerPort = 0;
  const asking =
    clientAuthorities === undefined ? {} : { requestCert: true, rejectUnauthorized: false, ca: [...clientAuthorities] };
  const server = createServer({ key, cert, ...asking }, (request, response) => {
    const { method, url: path } = request;
    const headers = { ...request.headers, ...certificateOf(request.socket as TLSSocket) };
    readBody(request)
      .then((body) => {
        // The provider makes addresses of the name that it is asked by: its own, which is then replaced.
        const host = `127.0.0.1:${providerPort}`;
        const options = { host: '127.0.0.1', port: providerPort, method, path, headers: { ...headers, host } };
        return httpRequest(options, (answer) => {
          response.writeHead(answer.statusCode ?? 500, answer.rawHeaders);
          answer.pipe(response);
        })
          .on('error', abortWith(response))
          .end(body);
      })
      .catch(abortWith(response));
  });
  const sockets = trackSockets(server);
  const issuer = `https://localhost:${await listen(server, 0)}`;
  onTestFinished(async () => {
    setDefaultCACertificates(trusted);
    await closeNow(server, sockets);
  });
  return {
    issuer,
    certificate: cert,
    serve(provider) {
      providerPort = provider.port;
      renameIssuer(provider, issuer);
    },
    forward: (provider) => void (providerPort = provider.port),
  };
}

/** What the provider is told of the client's certificate; overwrites what a client says of itself. */
function certificateOf(socket: TLSSocket): Record<string, string> {
  const certificate = socket.getPeerX509Certificate();
  return {
    [certificateHeaders.pem]: certificate === undefined ? '' : encodeURIComponent(certificate.toString()),
    [certificateHeaders.verified]: String(socket.authorized),
  };
}

/** Has a provider call itself by another name, in all that it says. */
export function renameIssuer(provider: TestProvider, issuer: string): void {
  provider.mutateDiscovery((metadata) => renamed(metadata, provider.issuer, issuer));
  provider.mutateIdToken((claims) => ({ claims: { ...claims, iss: issuer } }));
  provider.mutateCallback((parameters) => {
    if (parameters.has('iss')) parameters.set('iss', issuer);
    return parameters;
  });
}

function renamed(metadata: Record<string, unknown>, from: string, to: string): Record<string, unknown> {
  const json: Record<string, unknown> = JSON.parse(JSON.stringify(metadata).replaceAll(from, to));
  return json;
}

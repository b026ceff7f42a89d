/** TLS before a test provider, as in production: the issuer is https, the authority is one that this process trusts. */
import { request as httpRequest } from 'node:http';
import { createServer } from 'node:https';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { onTestFinished } from 'vitest';
import { abortWith, closeNow, listen, readBody, trackSockets } from './listener.ts';
import type { TestProvider } from './provider.ts';
import { makeCertificate } from './tls.ts';

export interface HttpsFront {
  /** `https://localhost:PORT`. */
  readonly issuer: string;
  /** PEM of its certificate, which is its own authority. */
  readonly certificate: string;
  /** Puts a provider behind it, and has it call itself by the new name. */
  readonly serve: (provider: TestProvider) => void;
}

/** Starts the front, for one test; `trusted: false` leaves its authority unknown to this process. Browsers are sent to the provider itself: `client.routeTo(provider.port, issuer)`. */
export async function startHttpsFront({ trusted: isTrusted = true } = {}): Promise<HttpsFront> {
  const { key, cert } = await makeCertificate();
  const trusted = getCACertificates('default');
  if (isTrusted) setDefaultCACertificates([...trusted, cert]);
  let providerPort = 0;
  const server = createServer({ key, cert }, (request, response) => {
    const { method, url: path, headers } = request;
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

/**
 * Connections that show a client certificate (mutual TLS, RFC 8705 3), which is renewed in its files while they are used.
 * Hides when the files are read, and which connections still show the certificate before.
 */
import { buildConnector } from 'undici';
import type { TlsIdentity } from '../config/certificate-file.ts';
import { detach } from '../detached.ts';
import type { Events } from '../events.ts';
import { createRenewedIdentity } from './tls-identity.ts';

export interface CertificateFiles {
  /** PEM. */
  readonly certFile: string;
  readonly keyFile: string;
}

/** Opens connections with one certificate. A later one is another object. */
interface CertifiedConnector {
  readonly identity: TlsIdentity;
  readonly connect: buildConnector.connector;
}

export type ClientCertificate = ReturnType<typeof createClientCertificate>;

/** @param options of the connections, besides the certificate */
export function createClientCertificate(
  { certFile, keyFile }: CertificateFiles,
  options: buildConnector.BuildOptions,
  events: Events,
) {
  const renewed = createRenewedIdentity('api.certFile', [certFile, keyFile], events);
  let newest: CertifiedConnector | undefined;

  async function connector(): Promise<CertifiedConnector> {
    const identity = await renewed.current();
    // A connector of its own, because the TLS sessions that it resumes belong to the certificate that began them.
    if (newest?.identity !== identity) newest = { identity, connect: buildConnector({ ...options, ...identity }) };
    return newest;
  }

  return {
    /** @throws {UnusableFile} as long as there was no certificate that can be used */
    connector,
    /** Whether a connection shows the certificate of now, as far as is known; has it looked for a newer one. */
    isCurrent(shown: CertifiedConnector | undefined): boolean {
      detach(connector(), () => undefined);
      return shown === newest;
    },
  };
}

/** The client certificates of outgoing connections (RFC 8705), from files that may be renewed at any time. */
import { parseTlsIdentity, type TlsIdentity } from '../config/certificate-file.ts';
import type { Config } from '../config/config.ts';
import { createRenewedFiles, type RenewedFiles } from '../config/renewed-files.ts';
import type { Events } from '../events.ts';

export type RenewedIdentity = RenewedFiles<TlsIdentity>;

/** What connections to the provider show; undefined where they show none. */
export function createProviderIdentity({ client }: Config, events: Events): RenewedIdentity | undefined {
  const { certFile, tlsKeyFile, keyFile = '' } = client;
  if (certFile === undefined) return undefined;
  return createRenewedIdentity('client.certFile', [certFile, tlsKeyFile ?? keyFile], events);
}

/** @param setting the key of the configuration that names the certificate's file, for events */
export function createRenewedIdentity(
  setting: string,
  [certFile, keyFile]: readonly [certFile: string, keyFile: string],
  events: Events,
): RenewedIdentity {
  const files = { setting, paths: [certFile, keyFile], parse: parseTlsIdentity, keepsOld: true };
  return createRenewedFiles(files, events);
}

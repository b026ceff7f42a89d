/** The certificate that a route shows to its API: both files, for an `https:` target, and for each other. */
import { parseTlsIdentity } from './certificate-file.ts';
import { contentOf, faultsOf } from './client-rules.ts';
import type { ConfigFault } from './faults.ts';
import { parseKeyFile } from './key-file.ts';
import type { ParsedConfig } from './schema.ts';

type Route = ParsedConfig['api'][number];

export function routeCertificateFaults({ certFile, keyFile, target }: Route): ConfigFault[] {
  if (certFile === undefined && keyFile === undefined) return [];
  if (certFile === undefined) return [{ path: 'keyFile', reason: 'is the key of a certificate; set certFile as well' }];
  if (keyFile === undefined) return [{ path: 'keyFile', reason: 'is missing: certFile needs the file of its key' }];
  if (target.startsWith('http:')) {
    return [{ path: 'certFile', reason: 'is for an https: target; remove it, or correct the target' }];
  }
  const unreadable = [
    ...faultsOf('certFile', () => contentOf(certFile), certFile),
    ...faultsOf('keyFile', () => parseKeyFile(contentOf(keyFile)), keyFile),
  ];
  if (unreadable.length > 0) return unreadable;
  return faultsOf('certFile', () => parseTlsIdentity(contentOf(certFile), contentOf(keyFile)), certFile);
}

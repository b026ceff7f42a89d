/** The certificate that a route shows to its API: both files, for an `https:` target, and for each other. */
import { certificateFileFaults } from './credential-files.ts';
import type { ConfigFault } from './faults.ts';
import type { ParsedConfig } from './schema.ts';

type Route = ParsedConfig['api'][number];

export function routeCertificateFaults({ certFile, keyFile, target }: Route): ConfigFault[] {
  if (certFile === undefined && keyFile === undefined) return [];
  if (certFile === undefined) return [{ path: 'keyFile', reason: 'is the key of a certificate; set certFile as well' }];
  if (keyFile === undefined) return [{ path: 'keyFile', reason: 'is missing: certFile needs the file of its key' }];
  if (target.startsWith('http:')) {
    return [{ path: 'certFile', reason: 'is for an https: target; remove it, or correct the target' }];
  }
  return certificateFileFaults(certFile, keyFile, 'keyFile');
}

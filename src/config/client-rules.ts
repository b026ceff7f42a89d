/**
 * What each way of authentication at the provider needs, and what it must not have: a secret or token that lies about
 * unused can be stolen as well as one that is used. Files are read, so that a broken one is refused at the start.
 */
import { certificatesIn } from './certificate-file.ts';
import { certificateFileFaults, contentOf, faultOf, fileFaults } from './credential-files.ts';
import type { ConfigFault } from './faults.ts';
import { parseKeyFile, UnusableFile } from './key-file.ts';
import type { ParsedConfig } from './schema.ts';
import { parseTokenFile } from './token-file.ts';
import { hmacAlgorithms } from './schema/client-authentication.ts';

type Client = ParsedConfig['client'];
type Setting = 'secret' | 'keyFile' | 'certFile' | 'tokenFile';

const needs: Readonly<Record<Client['authMethod'], Setting>> = {
  client_secret_basic: 'secret',
  client_secret_post: 'secret',
  client_secret_jwt: 'secret',
  private_key_jwt: 'keyFile',
  tls_client_auth: 'certFile',
  self_signed_tls_client_auth: 'certFile',
  federated_token: 'tokenFile',
};

const remedies: Readonly<Record<Setting, string>> = {
  secret: 'set SALLYPORT_CLIENT_SECRET (or SALLYPORT_CLIENT_SECRET_FILE) as the provider gave it to you',
  keyFile: 'set SALLYPORT_CLIENT_KEY_FILE to the file of the private key',
  certFile: 'set SALLYPORT_CLIENT_CERT_FILE to the file of the client certificate',
  tokenFile: "set SALLYPORT_CLIENT_TOKEN_FILE to the file of this workload's token",
};

export function clientFaults(client: Client, issuer: string | undefined): ConfigFault[] {
  return [
    ...missing(client),
    ...unused(client),
    ...keyFileFaults(client),
    ...certificateFaults(client, issuer),
    ...algorithmFaults(client),
  ].map(({ path, reason }) => ({ path: `client.${path}`, reason }));
}

function missing(client: Client): ConfigFault[] {
  const needed = needs[client.authMethod];
  if (client[needed] !== undefined) return [];
  // The default method is not what its user has written.
  const why = needed === 'secret' ? 'is missing' : `is missing, and ${client.authMethod} needs it`;
  return [{ path: needed, reason: `${why}: ${remedies[needed]}` }];
}

/** A key and a certificate may have another use: signed requests, tokens that are bound to the certificate. */
function unused({ authMethod, secret, tokenFile, certFile, tlsKeyFile }: Client): ConfigFault[] {
  const faults: ConfigFault[] = [];
  const needed = needs[authMethod];
  if (secret !== undefined && needed !== 'secret') {
    const reason = `is not used with ${authMethod}; remove it, and have the provider forget it`;
    faults.push({ path: 'secret', reason });
  }
  if (tokenFile !== undefined && needed !== 'tokenFile') {
    faults.push({ path: 'tokenFile', reason: `is not used with ${authMethod}; remove it, or set federated_token` });
  }
  if (tlsKeyFile !== undefined && certFile === undefined) {
    faults.push({ path: 'tlsKeyFile', reason: 'is the key of a certificate; set certFile as well, or remove it' });
  }
  return faults;
}

function keyFileFaults({ keyFile }: Client): ConfigFault[] {
  if (keyFile === undefined) return [];
  return fileFaults('keyFile', keyFile, () => parseKeyFile(contentOf(keyFile)));
}

function certificateFaults({ certFile, keyFile, tlsKeyFile }: Client, issuer = ''): ConfigFault[] {
  if (certFile === undefined) return [];
  if (issuer.startsWith('http:')) {
    return [{ path: 'certFile', reason: 'is for an https: issuer; remove it, or correct the issuer' }];
  }
  const key = tlsKeyFile ?? keyFile;
  if (key === undefined) {
    const reason = 'is missing, and certFile needs it: set SALLYPORT_CLIENT_TLS_KEY_FILE to the key of the certificate';
    return [{ path: 'tlsKeyFile', reason }];
  }
  return certificateFileFaults(certFile, key, tlsKeyFile === undefined ? 'keyFile' : 'tlsKeyFile');
}

/** HS256 needs a key as long as its hash (RFC 7518 3.2): a shorter one can be guessed by whoever has an assertion. */
const minimumSecretBytes = 32;

function algorithmFaults(client: Client): ConfigFault[] {
  const { authMethod, secret, signingAlgorithm, keyFile } = client;
  const isHmac = hmacAlgorithms.some((name) => name === signingAlgorithm);
  if (authMethod === 'client_secret_jwt') {
    const faults: ConfigFault[] = [];
    if (secret !== undefined && Buffer.byteLength(secret) < minimumSecretBytes) {
      const reason = `is too short for client_secret_jwt: at least ${minimumSecretBytes} bytes; have the provider make another`;
      faults.push({ path: 'secret', reason });
    }
    if (signingAlgorithm !== undefined && !isHmac) {
      faults.push({ path: 'signingAlgorithm', reason: 'must be HS256, HS384 or HS512 with client_secret_jwt' });
    }
    return faults;
  }
  if (signingAlgorithm === undefined) return [];
  if (keyFile === undefined) return [{ path: 'signingAlgorithm', reason: 'has no key; set keyFile, or remove it' }];
  const algorithms = algorithmsIn(keyFile);
  if (algorithms === undefined || algorithms.includes(signingAlgorithm)) return [];
  const reason = `is not for the first key of keyFile, which can do ${algorithms.join(', ')}`;
  return [{ path: 'signingAlgorithm', reason }];
}

/** What may mend by itself, and so is no fault: a token that is still to come, a certificate that is to be renewed. */
export function clientWarnings({ tokenFile, certFile }: Client): string[] {
  const warnings: string[] = [];
  const unusable = tokenFile === undefined ? undefined : faultOf(() => parseTokenFile(contentOf(tokenFile)));
  if (unusable !== undefined) {
    warnings.push(`The file "${tokenFile}" (client.tokenFile) ${unusable}. Until then nobody can sign in.`);
  }
  const [certificate] = certFile === undefined ? [] : certificatesIn(contentOf(certFile));
  if (certificate !== undefined && Date.parse(certificate.validTo) < Date.now()) {
    warnings.push(`The certificate in "${certFile}" (client.certFile) has expired: ${certificate.validTo}. Renew it.`);
  }
  return warnings;
}

/** What the key that signs can do; undefined for a file that is a fault in itself, or is missing by now. */
export function algorithmsIn(keyFile: string): readonly [string, ...string[]] | undefined {
  try {
    return parseKeyFile(contentOf(keyFile))[0].algorithms;
  } catch (error) {
    if (!(error instanceof UnusableFile)) throw error;
    return undefined;
  }
}

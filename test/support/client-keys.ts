/** Private keys of a client in a file, as operators make them, and what its assertions say. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeJwt, decodeProtectedHeader, type JWTPayload } from 'jose';
import { onTestFinished } from 'vitest';
import type { RecordedRequest, TestProvider } from './provider.ts';

export type KeyKind = 'RSA' | 'P-256' | 'P-384' | 'P-521' | 'Ed25519';

export function makePrivateKey(kind: KeyKind): KeyObject {
  if (kind === 'RSA') return generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  if (kind === 'Ed25519') return generateKeyPairSync('ed25519').privateKey;
  return generateKeyPairSync('ec', { namedCurve: kind }).privateKey;
}

export function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** A private JWK with these further members. */
export function jwkOf(key: KeyObject, members: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return { ...key.export({ format: 'jwk' }), ...members };
}

export interface CredentialFile {
  readonly path: string;
  /** Replaces the file in one step, as secret stores do. */
  readonly replace: (content: string) => Promise<void>;
  /** Writes into the file that is there. */
  readonly overwrite: (content: string) => Promise<void>;
  readonly remove: () => Promise<void>;
}

/** A file that is gone when the test is over. */
export async function credentialFile(content: string): Promise<CredentialFile> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-credentials-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, 'file');
  await writeFile(path, content);
  return {
    path,
    async replace(next) {
      await writeFile(`${path}.next`, next);
      await rename(`${path}.next`, path);
    },
    overwrite: (next) => writeFile(path, next),
    remove: () => rm(path),
  };
}

export interface Assertion {
  readonly header: Record<string, unknown>;
  readonly claims: JWTPayload;
  readonly request: RecordedRequest;
}

/** The assertions with which the provider's endpoints were called, in order. */
export function assertionsTo(provider: TestProvider): Assertion[] {
  return provider.requests.flatMap((request) => {
    const jwt = request.form['client_assertion'];
    return jwt === undefined ? [] : [{ header: { ...decodeProtectedHeader(jwt) }, claims: decodeJwt(jwt), request }];
  });
}

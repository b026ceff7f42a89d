/** A certificate for loopback that is its own authority, made afresh: no private key lies in the repository. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';

export interface TestCertificate {
  readonly key: string;
  readonly cert: string;
}

/** Valid for `localhost`, `api.test` and 127.0.0.1; its file is gone when the test is over. */
export async function makeCertificate(): Promise<TestCertificate & { readonly file: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-tls-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return write(folder, ['localhost', 'api.test']);
}

/** Valid for these names and 127.0.0.1; leaves no file. */
export async function createCertificate(names: readonly string[]): Promise<TestCertificate> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-tls-'));
  try {
    return await write(folder, names);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** @returns also where the certificate lies, as PEM */
async function write(folder: string, names: readonly string[]): Promise<TestCertificate & { readonly file: string }> {
  const [keyFile, file] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const valid = `subjectAltName=${names.map((name) => `DNS:${name}`).join(',')},IP:127.0.0.1`;
  const subject = ['-subj', '/CN=sallyport.test', '-addext', valid];
  await promisify(execFile)('openssl', ['req', ...kind, ...subject, '-keyout', keyFile, '-out', file]);
  return { key: await readFile(keyFile, 'utf8'), cert: await readFile(file, 'utf8'), file };
}

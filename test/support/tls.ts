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
  /** Where the certificate lies, as PEM. */
  readonly file: string;
}

/** Valid for `localhost`, `api.test` and 127.0.0.1; gone when the test is over. */
export async function makeCertificate(): Promise<TestCertificate> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-tls-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const [keyFile, file] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const names = ['-subj', '/CN=api.test', '-addext', 'subjectAltName=DNS:localhost,DNS:api.test,IP:127.0.0.1'];
  await promisify(execFile)('openssl', ['req', ...kind, ...names, '-keyout', keyFile, '-out', file]);
  return { key: await readFile(keyFile, 'utf8'), cert: await readFile(file, 'utf8'), file };
}

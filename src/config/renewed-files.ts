/**
 * Credentials in files that others renew while Sallyport runs: an operator, cert-manager, Kubernetes. The content is read
 * anew, at most once a second, when the credentials are used, and compared: by the time of a change alone, a file that is
 * written twice in the same moment would be missed.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { monotonicMs } from '../clock.ts';
import type { Events } from '../events.ts';
import { codeOf } from '../http/errors.ts';
import { UnusableFile } from './key-file.ts';

const recheckMs = 1000;

export interface FilesToRenew<Value> {
  /** The key of the configuration that names the first file, e.g. `client.keyFile`. */
  readonly setting: string;
  readonly paths: readonly string[];
  /** @throws {UnusableFile} */
  readonly parse: (...contents: string[]) => Value;
  /** Whether the credentials stay in use while their file is unusable. */
  readonly keepsOld: boolean;
}

export interface RenewedFiles<Value> {
  /** The credentials of this moment; the same object until a file changes. @throws {UnusableFile} */
  current(): Promise<Value>;
}

/** Reads the files at once. A fault is told with the first use, when somebody listens. */
export function createRenewedFiles<Value>(files: FilesToRenew<Value>, events: Events): RenewedFiles<Value> {
  const { setting, paths, parse, keepsOld } = files;
  let value: { readonly parsed: Value; readonly digest: string } | undefined;
  let fault: UnusableFile | undefined;
  let checkedAt = monotonicMs();
  let pending: Promise<void> | undefined;

  try {
    accept(paths.map((path) => readFileSync(path, 'utf8')));
  } catch {
    checkedAt = -Infinity;
  }

  function accept(contents: readonly string[]): void {
    const digest = createHash('sha256').update(JSON.stringify(contents)).digest('base64');
    const isSame = digest === value?.digest;
    const isNews = fault !== undefined || (value !== undefined && !isSame);
    if (!isSame) value = { parsed: parse(...contents), digest };
    fault = undefined;
    if (isNews) events.emit({ type: 'credentials.renewed', setting });
  }

  /** Never rejects. */
  async function check(): Promise<void> {
    try {
      accept(await Promise.all(paths.map((path) => readFile(path, 'utf8'))));
    } catch (error) {
      const told = fault?.message;
      fault = faultOf(error, paths);
      if (!keepsOld) value = undefined;
      if (fault.message !== told) events.emit({ type: 'credentials.unusable', setting, cause: fault });
    }
    checkedAt = monotonicMs();
  }

  return {
    async current() {
      // Without credentials nothing goes on, so that those that come are noticed at once.
      if (value === undefined || monotonicMs() - checkedAt >= recheckMs) {
        await (pending ??= check().finally(() => (pending = undefined)));
      }
      if (value === undefined) throw fault ?? new UnusableFile('has not been read');
      return value.parsed;
    },
  };
}

function faultOf(error: unknown, paths: readonly string[]): UnusableFile {
  const names = paths.map((path) => `"${path}"`).join(' with ');
  if (error instanceof UnusableFile) return new UnusableFile(`The file ${names} ${error.message}.`);
  return new UnusableFile(`The file ${names} cannot be read (${codeOf(error) || String(error)}).`, { cause: error });
}

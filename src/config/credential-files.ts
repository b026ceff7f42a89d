/** Files of credentials at the start: each is read, so that a broken one is refused with its reason. */
import { readFileSync } from 'node:fs';
import { codeOf } from '../http/errors.ts';
import { parseTlsIdentity } from './certificate-file.ts';
import type { ConfigFault } from './faults.ts';
import { parseKeyFile, UnusableFile } from './key-file.ts';

/** @throws {UnusableFile} */
export function contentOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new UnusableFile(`cannot be read (${codeOf(error)}); correct the path or its permissions`);
  }
}

/** What is wrong with a file, in words that follow its name. @param read throws {@link UnusableFile} */
export function faultOf(read: () => unknown): string | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    if (!(error instanceof UnusableFile)) throw error;
    return error.message;
  }
}

/** @param path of the key that names the file */
export function fileFaults(path: string, file: string, read: () => unknown): ConfigFault[] {
  const fault = faultOf(read);
  return fault === undefined ? [] : [{ path, reason: `the file "${file}" ${fault}` }];
}

/**
 * A certificate and its key, which must be for each other.
 * @param keyPath of the key that names the key's file
 */
export function certificateFileFaults(certFile: string, keyFile: string, keyPath: string): ConfigFault[] {
  const unreadable = [
    ...fileFaults('certFile', certFile, () => contentOf(certFile)),
    ...fileFaults(keyPath, keyFile, () => parseKeyFile(contentOf(keyFile))),
  ];
  if (unreadable.length > 0) return unreadable;
  return fileFaults('certFile', certFile, () => parseTlsIdentity(contentOf(certFile), contentOf(keyFile)));
}

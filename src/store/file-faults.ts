/** What can be wrong with a store's file, and the remedy of each. */
import { existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { userInfo } from 'node:os';

/** The file cannot be used. The message names the remedy. */
export class StoreFileError extends Error {
  override name = 'StoreFileError';
}

/**
 * Why SQLite of some versions is not used: it could lose what one connection wrote while another wrote the log back
 * (https://sqlite.org/wal.html#walresetbug).
 */
export function faultOfSqlite(version = ''): string | undefined {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number);
  const isMended =
    major > 3 ||
    minor > 51 ||
    (minor === 51 && patch >= 3) ||
    (minor === 50 && patch >= 7) ||
    (minor === 44 && patch >= 6);
  if (isMended) return undefined;
  return (
    `A store in a file needs SQLite 3.51.3 or newer, and Node ${process.version} has ${version}, which can damage a file ` +
    'that several connections use. Run Sallyport on Node 24 or newer.'
  );
}

/** SQLite's primary result codes (https://sqlite.org/rescode.html). */
const codes = { busy: 5, locked: 6, readonly: 8, ioError: 10, corrupt: 11, full: 13, cannotOpen: 14, notADatabase: 26 };

/** Whether another process has the file locked at the moment. */
export function isBusy(error: unknown): boolean {
  const code = codeOf(error);
  return code === codes.busy || code === codes.locked;
}

/** Why a file could not be opened, with the remedy. */
export function openingFault(path: string, error: unknown): StoreFileError {
  return new StoreFileError(`The store's file ${path} ${reasonOf(path, error)}`, { cause: error });
}

function reasonOf(path: string, error: unknown): string {
  const folder = dirname(path);
  if (!existsSync(folder)) {
    return `cannot be made: the folder ${folder} does not exist. Create it, or mount the volume that belongs there.`;
  }
  if (isFolder(path)) return 'is a folder. Correct SALLYPORT_STORE_FILE.';
  switch (codeOf(error)) {
    case codes.notADatabase:
    case codes.corrupt:
      return (
        'is damaged, or no SQLite database. Move it away, together with its -wal and -shm; Sallyport then begins a new ' +
        'one, in which the sign-outs of the old one are forgotten.'
      );
    case codes.busy:
    case codes.locked:
      return 'is locked by another program. Close what has it open (a backup, the sqlite3 shell).';
    case codes.full:
      return 'cannot be written: the disk is full. Free some space.';
    case codes.ioError:
      return `cannot be used in ${folder} (${textOf(error)}). The file needs a disk of this machine, not a network share.`;
    case undefined:
    default:
      return (
        `cannot be read and written by the user ${userName()} (${textOf(error)}). Give that user the file and its folder, in ` +
        'which -wal and -shm files are made beside it.'
      );
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    // What this user cannot look at is told by SQLite's error.
    return false;
  }
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A container's user may have no name.
    return String(process.getuid?.());
  }
}

function codeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined;
  // The upper bits hold the extended code.
  return error.errcode & 0xff;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

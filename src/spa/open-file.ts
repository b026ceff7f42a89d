/**
 * Opens the files of one folder. Hides the file system, its links and its races: no file outside the folder and no
 * hidden file in it is ever opened for a response.
 */
import { hash } from 'node:crypto';
import { constants, existsSync, type BigIntStats } from 'node:fs';
import { lstat, open, readlink, realpath, type FileHandle } from 'node:fs/promises';
import { isAbsolute, join, relative, sep } from 'node:path';
import type { StoredFile } from './representation.ts';

/** Which files may be served. */
export interface Visibility {
  readonly sourceMaps: boolean;
  readonly symlinks: boolean;
}

export interface VisibleFolder extends Visibility {
  /** The folder's real path. */
  readonly root: string;
}

export interface OpenFile extends StoredFile {
  readonly segments: readonly string[];
  readonly handle: FileHandle;
}

/**
 * Opens a file of the folder. Checks after opening: whatever changes on the disk in between, the bytes sent are those of
 * a file that was in the folder.
 * @returns undefined if there is no file that may be served
 */
export async function openFile(folder: VisibleFolder, segments: readonly string[]): Promise<OpenFile | undefined> {
  if (!isPublic(folder, segments)) return undefined;
  const path = join(folder.root, ...segments);
  const handle = await undefinedIfMissing(open(path, folder.symlinks ? openFlags : openFlags | constants.O_NOFOLLOW));
  if (handle === undefined) return undefined;

  let file: OpenFile | undefined;
  try {
    const stats = await handle.stat({ bigint: true });
    if (stats.isFile() && (await isInsideFolder(folder, path, { handle, stats }))) {
      file = openFileOf(segments, handle, stats);
    }
  } finally {
    if (file === undefined) await handle.close();
  }
  return file;
}

/** Non-blocking, so that opening a named pipe doesn't wait for a writer. */
const openFlags = constants.O_RDONLY | constants.O_NONBLOCK;

/** Whether the opened file is the one at `path`, reached only through links that may be followed. */
async function isInsideFolder(folder: VisibleFolder, path: string, opened: OpenedHandle): Promise<boolean> {
  const real = await realPathOf(opened, path);
  if (real === undefined) return false;
  // If links aren't followed, the requested name must be the file's one real name. That also excludes the other spellings
  // that Windows and macOS accept: another case, short names, alternate streams.
  return folder.symlinks ? isPublicTarget(folder, relative(folder.root, real)) : real === path;
}

/**
 * The real path of an opened file. Linux tells it of the open file itself, so that an attacker who replaces a folder by a
 * link meanwhile gets no other file past the check. Elsewhere the path is resolved again and must lead to the same file,
 * which leaves such an attacker a narrow gap.
 */
async function realPathOf({ handle, stats }: OpenedHandle, path: string): Promise<string | undefined> {
  if (hasProcFs) {
    const real = await readlink(`/proc/self/fd/${handle.fd}`);
    // A deployment has replaced the file since it was opened; this one was in the folder.
    return real.replace(/ \(deleted\)$/, '');
  }
  const real = await undefinedIfMissing(realpath(path));
  const resolved = real === undefined ? undefined : await undefinedIfMissing(lstat(real, { bigint: true }));
  return resolved?.ino === stats.ino && resolved.dev === stats.dev ? real : undefined;
}

const hasProcFs = existsSync('/proc/self/fd');

interface OpenedHandle {
  readonly handle: FileHandle;
  readonly stats: BigIntStats;
}

function isPublicTarget(visibility: Visibility, target: string): boolean {
  const segments = target.split(sep);
  if (segments[0] === '..' || isAbsolute(target)) return false;
  // Kubernetes stores the files of a ConfigMap in a folder `..2026_11_21_…` beside the links to them.
  return isPublic(
    visibility,
    segments.filter((segment) => !segment.startsWith('..')),
  );
}

function openFileOf(segments: readonly string[], handle: FileHandle, stats: BigIntStats): OpenFile {
  // Not from the modification time alone: reproducible builds give every file the same one, and an index.html whose
  // hashed names changed has the same size. The change time can't be set, so every redeploy changes the ETag. Hashed,
  // because clients must not learn the inode.
  const identity = [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join();
  return {
    segments,
    handle,
    size: Number(stats.size),
    modified: new Date(Number(stats.mtimeMs)),
    etag: `"${hash('sha256', identity, 'base64url').slice(0, 22)}"`,
  };
}

const absentCodes: ReadonlySet<unknown> = new Set(['ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP', 'ENAMETOOLONG', 'ENXIO']);

/** Undefined if there is no such file; a file that can't be read is the operator's fault and stays an error. */
export async function undefinedIfMissing<T>(access: Promise<T>): Promise<T | undefined> {
  try {
    return await access;
  } catch (error) {
    if (error instanceof Error && 'code' in error && absentCodes.has(error.code)) return undefined;
    throw error;
  }
}

/** Whether a path may name a file that is meant for everybody. */
function isPublic(visibility: Visibility, segments: readonly string[]): boolean {
  return (
    segments.every(isPublicSegment) && (visibility.sourceMaps || !/\.map(\.(br|zst|gz))?$/i.test(nameOf(segments)))
  );
}

function isPublicSegment(segment: string, index: number): boolean {
  // `.env`, `.git/config`: never. `/.well-known/` is public by definition (RFC 8615).
  if (segment.startsWith('.')) return index === 0 && segment === '.well-known';
  // An encoded slash is no separator. `:` (streams, drives), a trailing dot or space are other names on Windows.
  return segment !== '' && !/[/:]|[. ]$/.test(segment);
}

export function nameOf(segments: readonly string[]): string {
  return segments.at(-1) ?? '';
}

/**
 * Serves the single-page app's built files: one folder, read only, with validators, ranges, precompressed variants
 * and the history fallback to index.html (RFC 9110, RFC 9111). It hides the file system: nothing outside the folder
 * and nothing hidden in it is ever opened for an answer.
 *
 * Nothing about a file is remembered between requests but the hashes of a document's inline scripts, under the file's
 * own ETag: a redeploy is seen by the next request, also one that switches the folder when the folder is a link.
 */

import { hash } from 'node:crypto';
import { constants, existsSync, lstatSync, statSync } from 'node:fs';
import type { BigIntStats } from 'node:fs';
import { lstat, open, readlink, realpath } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import { parseAccept } from 'hono/utils/accept';
import { COMPRESSIBLE_CONTENT_TYPE_REGEX } from 'hono/utils/compress';
import { getMimeType } from 'hono/utils/mime';
import { LRUCache } from 'lru-cache';
import { BffError } from '../http/errors.ts';
import { answer, preferredCoding, isDocument, mediaType } from './representation.ts';
import type { ByteRange, Representation, StoredFile } from './representation.ts';
import { inlineHashes, securityHeaders } from './security-headers.ts';
import type { HeaderOverrides } from './security-headers.ts';

export interface SpaFolderOptions {
  /** The folder of built files; it must hold an index.html. May itself be a link that deployments switch. */
  readonly folder: string;
  /** The app's public origin; `https:` brings HSTS. */
  readonly origin: string;
  /** Replaces (string), adds (string) or removes (`false`) response headers, the security headers among them. */
  readonly headers?: HeaderOverrides | undefined;
  /** Serve `*.map` files. Default `false`: a source map hands out the app's source code. */
  readonly sourceMaps?: boolean | undefined;
  /**
   * Follow symbolic links whose target stays in the folder and isn't hidden, as a mounted Kubernetes ConfigMap needs.
   * Default `false`: links inside the folder are not served. A link that leaves the folder never is.
   */
  readonly symlinks?: boolean | undefined;
}

/** A web-standard handler for one folder. */
export interface SpaFolder {
  /**
   * Answers GET and HEAD; throws {@link BffError} `route_not_found`, `method_not_allowed` or `request_invalid`.
   * The answer's body must be read to its end or cancelled, for it holds an open file.
   */
  readonly fetch: (request: Request) => Promise<Response>;
}

/** Serves one folder of built files. Throws at once, with reason and remedy, if it or its index.html isn't there. */
export function createSpaFolder(options: SpaFolderOptions): SpaFolder {
  const folder = resolve(options.folder);
  const tree: Tree = { sourceMaps: options.sourceMaps ?? false, symlinks: options.symlinks ?? false };
  checkFolder(folder, tree);
  const assetHeaders = securityHeaders(options);
  // An override that is no valid header must stop the start, not every answer.
  void new Headers(Object.fromEntries(assetHeaders));
  const documentHeaders = new LRUCache<string, HeaderPairs>({ max: 200 });

  async function headersFor(file: OpenFile): Promise<HeaderPairs> {
    if (!isDocument(nameOf(file.segments))) return assetHeaders;
    const known = documentHeaders.get(file.etag);
    if (known) return known;
    const inline = inlineHashes(await file.handle.readFile('utf8'));
    const headers = securityHeaders({ origin: options.origin, headers: options.headers, inline });
    documentHeaders.set(file.etag, headers);
    return headers;
  }

  async function respond(request: Request, root: string, file: OpenFile): Promise<Response> {
    const unused = new Set([file.handle]);
    try {
      const policy = await headersFor(file);
      const chosen = await chooseCoding(tree, root, file, request.headers.get('accept-encoding'));
      unused.add(chosen.file.handle);
      const { status, headers, range } = answer(request, chosen);
      for (const [name, value] of policy) headers.set(name, value);
      if (request.method === 'HEAD' || !range || range.last < range.first) {
        return new Response(null, { status, headers });
      }
      unused.delete(chosen.file.handle);
      return new Response(readRange(chosen.file.handle, range), { status, headers });
    } finally {
      for (const handle of unused) await handle.close();
    }
  }

  async function fetch(request: Request): Promise<Response> {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      throw new BffError('method_not_allowed', 'Files can only be read: use GET or HEAD.', {
        headers: { allow: 'GET, HEAD' },
      });
    }
    const { pathname, search } = new URL(request.url);
    const segments = decodePath(pathname);
    const root = await realpath(folder);

    const file = await openFile(tree, root, segments);
    if (file) return respond(request, root, file);

    const nested = await openFile(tree, root, [...segments, indexName]);
    if (nested) {
      await nested.handle.close();
      return redirectIntoFolder(pathname, search, assetHeaders);
    }
    if (!isNavigation(request.headers) || !mayBeRoute(segments)) {
      throw new BffError('route_not_found', 'There is no such file.');
    }
    const index = await openFile(tree, root, [indexName]);
    if (!index) throw new Error(`${join(folder, indexName)} has gone: deploy the app's files again`);
    return respond(request, root, index);
  }

  return { fetch };
}

const indexName = 'index.html';

type HeaderPairs = ReturnType<typeof securityHeaders>;

/** What may be seen of the folder. */
interface Tree {
  readonly sourceMaps: boolean;
  readonly symlinks: boolean;
}

interface OpenFile extends StoredFile {
  readonly segments: readonly string[];
  readonly handle: FileHandle;
}

function checkFolder(folder: string, tree: Tree): void {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    throw new Error(`spa.folder: ${folder} is not a folder. Build the app first, or correct the path.`);
  }
  const index = join(folder, indexName);
  const stats = (tree.symlinks ? statSync : lstatSync)(index, { throwIfNoEntry: false });
  if (!stats?.isFile()) {
    throw new Error(
      `spa.folder: ${index} is ${stats ? 'not a regular file' : 'missing'}. ` +
        `Build the app first, or name the folder that holds the built ${indexName}.`,
    );
  }
}

/** Far above any file or route; a longer path is a probe and not worth a look at the disk. */
const maxPathLength = 4096;

/** The decoded segments of a path; a trailing slash names the folder's index.html. Decodes once, never again. */
function decodePath(pathname: string): readonly string[] {
  if (pathname.length > maxPathLength) {
    throw new BffError('request_invalid', `The path is longer than ${maxPathLength} characters.`);
  }
  const segments = pathname.slice(1).split('/').map(decodeSegment);
  return segments.at(-1) === '' ? [...segments.slice(0, -1), indexName] : segments;
}

function decodeSegment(raw: string): string {
  let segment: string;
  try {
    segment = decodeURIComponent(raw);
  } catch (cause) {
    throw new BffError('request_invalid', 'The path is not valid percent-encoded UTF-8.', { cause });
  }
  // `%00` cuts names short in C, `%5c` separates them on Windows, `..%2f` climbs: no file and no route needs these.
  const climbs = segment.split('/').some((part) => part === '.' || part === '..');
  if (climbs || /[\p{Cc}\\]/u.test(segment)) {
    throw new BffError('request_invalid', 'The path holds a dot segment, a backslash or a control character.');
  }
  return segment;
}

/** Whether a path may name a file that is meant for the public. */
function isPublic(tree: Tree, segments: readonly string[]): boolean {
  return segments.every(isPublicSegment) && (tree.sourceMaps || !/\.map(\.(br|zst|gz))?$/i.test(nameOf(segments)));
}

function isPublicSegment(segment: string, index: number): boolean {
  // `.env`, `.git/config`: never. `/.well-known/` is public by definition (RFC 8615).
  if (segment.startsWith('.')) return index === 0 && segment === '.well-known';
  // An encoded slash is no separator. `:` (streams, drives), a trailing dot or space are other names on Windows.
  return segment !== '' && !/[/:]|[. ]$/.test(segment);
}

/**
 * Whether index.html may stand in for a path that names no file. Not for what is an asset by its extension: a script
 * answered with HTML breaks in ways that are hard to read. Not for `/.well-known/…`, where a 404 is information.
 */
function mayBeRoute(segments: readonly string[]): boolean {
  const name = nameOf(segments);
  return !segments.some((segment) => segment.startsWith('.')) && (isDocument(name) || getMimeType(name) === undefined);
}

/** Whether a browser goes to a page, as opposed to a script fetching something for it. */
function isNavigation(headers: Headers): boolean {
  const mode = headers.get('sec-fetch-mode');
  if (mode !== null) return mode === 'navigate';
  return parseAccept(headers.get('accept') ?? '').some(({ type, q }) => type.toLowerCase() === 'text/html' && q > 0);
}

/** Relative to the path itself, so that it works below any mount point and can't lead to another host. */
function redirectIntoFolder(pathname: string, search: string, policy: HeaderPairs): Response {
  const headers = new Headers({ 'cache-control': 'no-cache' });
  for (const [name, value] of policy) headers.set(name, value);
  headers.set('location', `./${pathname.slice(pathname.lastIndexOf('/') + 1)}/${search}`);
  return new Response(null, { status: 302, headers });
}

/**
 * Opens a file of the folder, or gives `undefined` where there is none to see. First opens, then checks what was
 * opened: whatever happens on the disk in between, the bytes sent are those of a file that stood in the folder.
 */
async function openFile(tree: Tree, root: string, segments: readonly string[]): Promise<OpenFile | undefined> {
  if (!isPublic(tree, segments)) return undefined;
  const path = join(root, ...segments);
  const handle = await undefinedIfMissing(open(path, tree.symlinks ? openFlags : openFlags | constants.O_NOFOLLOW));
  if (!handle) return undefined;

  let file: OpenFile | undefined;
  try {
    const stats = await handle.stat({ bigint: true });
    if (stats.isFile() && (await isInsideFolder(tree, root, path, { handle, stats }))) {
      file = describe(segments, handle, stats);
    }
  } finally {
    if (!file) await handle.close();
  }
  return file;
}

/** Non-blocking, so that opening a named pipe doesn't hang until somebody writes to it. */
const openFlags = constants.O_RDONLY | constants.O_NONBLOCK;

/** Whether the opened file is the one at `path`, reached through no link but those the tree allows. */
async function isInsideFolder(tree: Tree, root: string, path: string, opened: OpenedHandle): Promise<boolean> {
  const real = await realPathOf(opened, path);
  if (real === undefined) return false;
  // Where links aren't followed, the name asked for must be the file's one real name. That also refuses the other
  // spellings of it that Windows and macOS accept: another case, short names, alternate streams.
  return tree.symlinks ? isPublicTarget(tree, relative(root, real)) : real === path;
}

/**
 * The real path of an opened file. Linux knows it of the open file itself, so that nobody who swaps a folder for a
 * link meanwhile gets another file past the check. Elsewhere the path is resolved again and must lead to the same
 * file, which leaves such a person a narrow gap.
 */
async function realPathOf({ handle, stats }: OpenedHandle, path: string): Promise<string | undefined> {
  if (hasProcFs) {
    const real = await readlink(`/proc/self/fd/${handle.fd}`);
    // A deployment has put another file in its place since it was opened: this one did stand there.
    return real.replace(/ \(deleted\)$/, '');
  }
  const real = await undefinedIfMissing(realpath(path));
  const there = real === undefined ? undefined : await undefinedIfMissing(lstat(real, { bigint: true }));
  return there?.ino === stats.ino && there.dev === stats.dev ? real : undefined;
}

const hasProcFs = existsSync('/proc/self/fd');

interface OpenedHandle {
  readonly handle: FileHandle;
  readonly stats: BigIntStats;
}

function isPublicTarget(tree: Tree, target: string): boolean {
  const segments = target.split(sep);
  if (segments[0] === '..' || isAbsolute(target)) return false;
  // Kubernetes keeps the files of a ConfigMap in a folder `..2026_11_21_…` beside the links to them.
  return isPublic(
    tree,
    segments.filter((segment) => !segment.startsWith('..')),
  );
}

function describe(segments: readonly string[], handle: FileHandle, stats: BigIntStats): OpenFile {
  // Not from the modification time alone: reproducible builds give every file the same one, and an index.html whose
  // hashed names changed has the same size. The change time can't be set, so no redeploy goes cookiesUnknown. Hashed, because
  // the inode is nobody's business.
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

/** `undefined` where there is no such file; a file that can't be read is the operator's fault and stays an error. */
async function undefinedIfMissing<T>(access: Promise<T>): Promise<T | undefined> {
  try {
    return await access;
  } catch (error) {
    if (error instanceof Error && 'code' in error && absentCodes.has(error.code)) return undefined;
    throw error;
  }
}

/** Streams part of a file and closes it: at the end, on an error, and when the reader cancels. */
function readRange(handle: FileHandle, { first, last }: ByteRange): ReadableStream<Uint8Array> {
  const chunkSize = 65536;
  let position = first;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller): Promise<void> {
        const wanted = Math.min(chunkSize, last - position + 1);
        try {
          const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(wanted), 0, wanted, position);
          // The length was promised: a short body must look broken, not complete.
          if (bytesRead === 0) throw new Error('The file became shorter while it was sent');
          position += bytesRead;
          controller.enqueue(buffer.subarray(0, bytesRead));
        } catch (error) {
          await handle.close();
          throw error;
        }
        if (position > last) {
          await handle.close();
          controller.close();
        }
      },
      async cancel(): Promise<void> {
        await handle.close();
      },
    },
    { highWaterMark: 0 },
  );
}

/** Content codings with the suffix of their files, the one that packs best first. */
const codings = [
  { coding: 'br', suffix: '.br' },
  { coding: 'zstd', suffix: '.zst' },
  { coding: 'gzip', suffix: '.gz' },
] as const;

/** Opens the precompressed sibling that the client likes best, if there is one and it likes it better than none. */
async function chooseCoding(
  tree: Tree,
  root: string,
  file: OpenFile,
  acceptEncoding: string | null,
): Promise<Representation<OpenFile>> {
  const name = nameOf(file.segments);
  const plain = { name, file, coding: undefined };
  if (!COMPRESSIBLE_CONTENT_TYPE_REGEX.test(mediaType(name))) return { ...plain, negotiated: false };

  const path = join(root, ...file.segments);
  const found = await Promise.all(
    codings.map(async (entry) => ((await undefinedIfMissing(lstat(path + entry.suffix))) ? entry : undefined)),
  );
  const siblings = found.filter((entry) => entry !== undefined);
  const best = preferredCoding(siblings, acceptEncoding);
  const packed = best && (await openFile(tree, root, [...file.segments.slice(0, -1), name + best.suffix]));
  const negotiated = siblings.length > 0;
  return packed ? { name, file: packed, coding: best.coding, negotiated } : { ...plain, negotiated };
}

function nameOf(segments: readonly string[]): string {
  return segments.at(-1) ?? '';
}

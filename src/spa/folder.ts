/**
 * Serves the single-page app's built files: one folder, read only, with validators, ranges, compressed variants
 * and the history fallback to index.html (RFC 9110, RFC 9111). Hides how a path of a request finds its file.
 *
 * Nothing about a file is cached between requests except what follows from a document's own code, under the file's
 * ETag: the next request sees a redeploy, also one that switches the folder when the folder is a link.
 */
import { lstatSync, statSync } from 'node:fs';
import { lstat, realpath, type FileHandle } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseAccept } from 'hono/utils/accept';
import { COMPRESSIBLE_CONTENT_TYPE_REGEX } from 'hono/utils/compress';
import { getMimeType } from 'hono/utils/mime';
import { LRUCache } from 'lru-cache';
import { BffError } from '../http/errors.ts';
import { isPassedOnNavigation } from '../http/navigation.ts';
import {
  nameOf,
  openFile,
  undefinedIfMissing,
  type OpenFile,
  type Visibility,
  type VisibleFolder,
} from './open-file.ts';
import { compressorsFor, createCompressedFiles, type CompressedFile } from './compressed-files.ts';
import {
  evaluateRequest,
  isDocument,
  mediaType,
  preferredCoding,
  type ByteRange,
  type Representation,
} from './representation.ts';
import type { CspAdditions } from './content-security-policy.ts';
import { inlineHashes } from './inline-hashes.ts';
import { nonceDocument } from './nonce-document.ts';
import { securityHeaders, type HeaderOverrides } from './security-headers.ts';

export interface SpaFolderOptions {
  /** The folder of built files; it must hold an index.html. May itself be a link that deployments switch. */
  readonly folder: string;
  /** The app's public origin; `https:` brings HSTS. */
  readonly origin: string;
  /** The path below which the folder's requests are, without a slash at its end; '' (the default): the whole origin. */
  readonly path?: string | undefined;
  /** Replaces (string), adds (string) or removes (`false`) response headers, the security headers among them. */
  readonly headers?: HeaderOverrides | undefined;
  /** Sources that the Content-Security-Policy allows besides its own, by directive. */
  readonly csp?: CspAdditions | undefined;
  /** The text in documents that each response replaces by a fresh nonce. */
  readonly nonce?: string | undefined;
  /** Serve `*.map` files. Default `false`: a source map contains the app's source code. */
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
   * The response's body must be read to its end or cancelled, because it holds an open file.
   */
  readonly fetch: (request: Request) => Promise<Response>;
}

/** Serves one folder of built files. Throws at once, with reason and remedy, if the folder or its index.html is missing. */
export function createSpaFolder(options: SpaFolderOptions): SpaFolder {
  const folder = resolve(options.folder);
  const { path = '', origin, headers: overrides, csp } = options;
  const policy = { origin, headers: overrides, csp };
  const visibility: Visibility = { sourceMaps: options.sourceMaps ?? false, symlinks: options.symlinks ?? false };
  requireFolder(folder, visibility);
  const assetHeaders = securityHeaders(policy);
  requireValidHeaders(assetHeaders);
  const assetPlan = { fresh: undefined, headers: assetHeaders };
  const documents = new LRUCache<string, DocumentPlan>({ max: 200 });
  const compress = createCompressedFiles();

  /** What to do with a document of this version. */
  async function planFor(file: OpenFile): Promise<DocumentPlan> {
    const cached = documents.get(file.etag);
    if (cached !== undefined) return cached;
    const html = await file.handle.readFile('utf8');
    const plan = {
      fresh: options.nonce === undefined ? undefined : nonceDocument(html, options.nonce, policy),
      headers: securityHeaders({ ...policy, inline: inlineHashes(html) }),
    };
    documents.set(file.etag, plan);
    return plan;
  }

  async function respond(request: Request, visible: VisibleFolder, file: OpenFile): Promise<Response> {
    const unused = new Set([file.handle]);
    try {
      const plan = isDocument(nameOf(file.segments)) ? await planFor(file) : assetPlan;
      if (plan.fresh !== undefined) return plan.fresh(request.method);
      const chosen = await chooseCoding(visible, file, request.headers.get('accept-encoding'), compress);
      const { file: sent } = chosen;
      if ('handle' in sent) unused.add(sent.handle);
      const { status, headers, range } = evaluateRequest(request, chosen);
      for (const [name, value] of plan.headers) headers.set(name, value);
      if (request.method === 'HEAD' || range === undefined || range.last < range.first) {
        return new Response(null, { status, headers });
      }
      if ('bytes' in sent) return new Response(partOf(sent, range), { status, headers });
      unused.delete(sent.handle);
      return new Response(readRange(sent.handle, range), { status, headers });
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
    const below = pathname.slice(path.length);
    if (below === '') return redirectIntoFolder(pathname, search, assetHeaders);
    const segments = decodePath(below);
    const visible = { ...visibility, root: await realpath(folder) };

    const file = await openFile(visible, segments);
    if (file !== undefined) return respond(request, visible, file);

    const nested = await openFile(visible, [...segments, indexName]);
    if (nested !== undefined) {
      await nested.handle.close();
      return redirectIntoFolder(pathname, search, assetHeaders);
    }
    if (!acceptsDocument(request.headers) || !mayBeRoute(segments, request.headers)) {
      throw new BffError('route_not_found', 'There is no such file.');
    }
    const index = await openFile(visible, [indexName]);
    if (index === undefined) throw new Error(`${join(folder, indexName)} has gone: deploy the app's files again`);
    return respond(request, visible, index);
  }

  return { fetch };
}

const indexName = 'index.html';

type HeaderPairs = ReturnType<typeof securityHeaders>;

interface DocumentPlan {
  /** Makes the response, if each has a nonce of its own. */
  readonly fresh: ((method: string) => Response) | undefined;
  /** What goes with a document that is sent as it is. */
  readonly headers: HeaderPairs;
}

function requireFolder(folder: string, { symlinks }: Visibility): void {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new Error(`spa.folder: ${folder} is not a folder. Build the app first, or correct the path.`);
  }
  const index = join(folder, indexName);
  const stats = (symlinks ? statSync : lstatSync)(index, { throwIfNoEntry: false });
  if (stats?.isFile() !== true) {
    throw new Error(
      `spa.folder: ${index} is ${stats === undefined ? 'missing' : 'not a regular file'}. ` +
        `Build the app first, or name the folder that holds the built ${indexName}.`,
    );
  }
}

/** An override that is no valid header must fail the start, not every response. @throws {TypeError} */
function requireValidHeaders(headers: HeaderPairs): void {
  void new Headers(Object.fromEntries(headers));
}

/** Far longer than any file or route; a longer path is a probe, for which the disk is not read. */
const maximumPathLength = 4096;

/** The segments of a path, decoded once; a trailing slash names the folder's index.html. */
function decodePath(pathname: string): readonly string[] {
  if (pathname.length > maximumPathLength) {
    throw new BffError('request_invalid', `The path is longer than ${maximumPathLength} characters.`);
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
  // `%00` ends a name in C, `%5c` separates names on Windows, `..%2f` leads to a parent: no file or route needs these.
  const climbs = segment.split('/').some((part) => part === '.' || part === '..');
  if (climbs || /[\p{Cc}\\]/u.test(segment)) {
    throw new BffError('request_invalid', 'The path holds a dot segment, a backslash or a control character.');
  }
  return segment;
}

/**
 * Whether index.html is the response for a path that names no file. A route may end like an asset (`/src/main.ts`,
 * `/report.pdf`), but only a tab gets it then: a frame or `<embed>` that gets HTML in place of its file fails in ways that
 * are hard to understand. Not below `/.well-known/`, where a 404 is information.
 */
function mayBeRoute(segments: readonly string[], headers: Headers): boolean {
  if (segments.some((segment) => segment.startsWith('.'))) return false;
  const name = nameOf(segments);
  if (isDocument(name) || getMimeType(name) === undefined) return true;
  const destination = headers.get('sec-fetch-dest');
  return destination === null ? headers.get('sec-fetch-mode') === null : isTab(destination);
}

/** A navigation that a service worker passes on has the destination `empty`. */
function isTab(destination: string): boolean {
  return destination === 'document' || destination === 'empty';
}

/**
 * Whether a browser loads a document, as opposed to a script that fetches something. Wider than `isNavigation` of
 * http/navigation.ts on purpose: a prefetch or a frame needs the same document, which changes no state. Narrower in one
 * case: an `Accept` that lists HTML with weight 0 excludes it (RFC 9110 12.4.2).
 */
function acceptsDocument(headers: Headers): boolean {
  const mode = headers.get('sec-fetch-mode');
  if (mode !== null) return mode === 'navigate' || isPassedOnNavigation(Object.fromEntries(headers));
  return parseAccept(headers.get('accept') ?? '').some(({ type, q }) => type.toLowerCase() === 'text/html' && q > 0);
}

/** Relative to the path itself, so that it works below any mount point and leads to no other host. */
function redirectIntoFolder(pathname: string, search: string, policy: HeaderPairs): Response {
  const headers = new Headers({ 'cache-control': 'no-cache' });
  for (const [name, value] of policy) headers.set(name, value);
  headers.set('location', `./${pathname.slice(pathname.lastIndexOf('/') + 1)}/${search}`);
  return new Response(null, { status: 302, headers });
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
          // The length is already sent: a shorter body must be seen as incomplete.
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

/** Content codings with the suffix of their files, the one that compresses best first. */
const codings = [
  { coding: 'br', suffix: '.br' },
  { coding: 'zstd', suffix: '.zst' },
  { coding: 'gzip', suffix: '.gz' },
] as const;

/**
 * The file in the coding that the client prefers: a packed sibling, or, where the build brings none, compressed here.
 * @param compress compresses a file, if it can
 */
async function chooseCoding(
  folder: VisibleFolder,
  file: OpenFile,
  acceptEncoding: string | null,
  compress: ReturnType<typeof createCompressedFiles>,
): Promise<Representation<OpenFile | CompressedFile>> {
  const name = nameOf(file.segments);
  const plain = { name, file, coding: undefined };
  if (!COMPRESSIBLE_CONTENT_TYPE_REGEX.test(mediaType(name))) return { ...plain, negotiated: false };

  const siblings = await siblingsOf(folder, file);
  if (siblings.length > 0) {
    const best = preferredCoding(siblings, acceptEncoding);
    const packed = best && (await openFile(folder, [...file.segments.slice(0, -1), name + best.suffix]));
    return packed === undefined
      ? { ...plain, negotiated: true }
      : { name, file: packed, coding: best?.coding, negotiated: true };
  }
  const compressors = compressorsFor(file);
  const best = preferredCoding(compressors, acceptEncoding);
  const compressed = best && (await compress(file, best));
  return compressed === undefined
    ? { ...plain, negotiated: compressors.length > 0 }
    : { name, file: compressed, coding: best?.coding, negotiated: true };
}

async function siblingsOf(folder: VisibleFolder, { segments }: OpenFile): Promise<(typeof codings)[number][]> {
  const path = join(folder.root, ...segments);
  const found = await Promise.all(
    codings.map(async (entry) => {
      const stats = await undefinedIfMissing(lstat(path + entry.suffix));
      return stats === undefined ? undefined : entry;
    }),
  );
  return found.filter((entry) => entry !== undefined);
}

function partOf({ bytes }: CompressedFile, { first, last }: ByteRange): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes.subarray(first, last + 1));
}

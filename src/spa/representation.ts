/**
 * HTTP's rules for a response from a stored file, apart from reading it: preconditions (RFC 9110 13), ranges (RFC 9110
 * 14), the choice of a content coding (RFC 9110 12.5.3), media types, and how long a name may be cached.
 */
import { parseAccept } from 'hono/utils/accept';
import { getMimeType } from 'hono/utils/mime';

/** One version of a file. */
export interface StoredFile {
  readonly size: number;
  readonly modified: Date;
  /** A strong validator, quoted: it differs for every other version and every other coding. */
  readonly etag: string;
}

/** The file chosen for one response. */
export interface Representation<File extends StoredFile = StoredFile> {
  /** The requested name, also if `file` is a compressed sibling of that file. */
  readonly name: string;
  readonly file: File;
  readonly coding: string | undefined;
  /** Whether another request for the same URL may get another coding. */
  readonly negotiated: boolean;
}

/** First and last byte, both included; for an empty file `last` is less than `first`. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/** Status, headers and bytes of a response. */
export interface Evaluation {
  readonly status: number;
  readonly headers: Headers;
  /** The bytes that a GET sends; undefined for a response without a body. */
  readonly range: ByteRange | undefined;
}

/** Evaluates the preconditions and the range of a GET or HEAD (RFC 9110 13.2.2, 14.2). */
export function evaluateRequest(request: Request, { name, file, coding, negotiated }: Representation): Evaluation {
  const headers = new Headers({
    'cache-control': isHashed(name) ? 'public, max-age=31536000, immutable' : 'no-cache',
    etag: file.etag,
    'last-modified': file.modified.toUTCString(),
  });
  if (negotiated) headers.set('vary', 'Accept-Encoding');
  if (isNotModified(request.headers, file)) return { status: 304, headers, range: undefined };

  headers.set('accept-ranges', 'bytes');
  const range = request.method === 'GET' ? requestedRange(request.headers, file) : undefined;
  if (range === 'unsatisfiable') {
    headers.set('content-range', `bytes */${file.size}`);
    return { status: 416, headers, range: undefined };
  }
  headers.set('content-type', mediaType(name));
  if (coding !== undefined) headers.set('content-encoding', coding);
  if (range !== undefined) headers.set('content-range', `bytes ${range.first}-${range.last}/${file.size}`);
  const sent = range ?? { first: 0, last: file.size - 1 };
  headers.set('content-length', String(sent.last - sent.first + 1));
  return { status: range === undefined ? 200 : 206, headers, range: sent };
}

/**
 * The coding of greatest weight, the first sibling among equals (RFC 9110 12.5.3); undefined is the plain file, which is
 * acceptable unless excluded, and which is sent if everything is excluded (RFC 9110 12.4.1).
 */
export function preferredCoding<T extends { readonly coding: string }>(
  siblings: readonly T[],
  acceptEncoding: string | null,
): T | undefined {
  const accepted = parseAccept(acceptEncoding ?? '');
  const weightOf = (coding: string): number | undefined =>
    accepted.find(({ type }) => type.toLowerCase() === coding)?.q ?? accepted.find(({ type }) => type === '*')?.q;
  let best: T | undefined;
  let bestWeight = 0;
  for (const sibling of siblings) {
    const weight = weightOf(sibling.coding) ?? 0;
    if (weight > bestWeight) [best, bestWeight] = [sibling, weight];
  }
  return (weightOf('identity') ?? 0) > bestWeight ? undefined : best;
}

/** The media type by the name's extension. */
export function mediaType(name: string): string {
  return getMimeType(name) ?? 'application/octet-stream';
}

/** Whether a browser shows a file of this name as a page. */
export function isDocument(name: string): boolean {
  return mediaType(name).startsWith('text/html');
}

/** If-Modified-Since counts only without If-None-Match (RFC 9110 13.2.2). */
function isNotModified(headers: Headers, { etag, modified }: StoredFile): boolean {
  const noneMatch = headers.get('if-none-match');
  if (noneMatch !== null) {
    return noneMatch.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag);
  }
  const since = Date.parse(headers.get('if-modified-since') ?? '');
  return wholeSeconds(modified.getTime()) <= wholeSeconds(since);
}

/** HTTP dates have no fractions (RFC 9110 5.6.7). `NaN`, an invalid date, compares as false. */
function wholeSeconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000);
}

/**
 * The requested range (RFC 9110 14.2). Undefined is the whole file: also for several ranges, which a server may ignore
 * and with which a client can make it send far more than the file (RFC 9110 17.15), and for a range of an earlier version
 * (`If-Range`).
 */
function requestedRange(
  headers: Headers,
  { size, etag, modified }: StoredFile,
): ByteRange | 'unsatisfiable' | undefined {
  const [matched, from = '', to = ''] = /^bytes=(\d*)-(\d*)$/i.exec(headers.get('range') ?? '') ?? [];
  if (matched === undefined || (from === '' && to === '')) return undefined;
  const ifRange = headers.get('if-range');
  if (ifRange !== null && ifRange !== etag && ifRange !== modified.toUTCString()) return undefined;

  if (from !== '' && to !== '' && Number(to) < Number(from)) return undefined;
  const first = from === '' ? Math.max(size - Number(to), 0) : Number(from);
  const last = from === '' || to === '' ? size - 1 : Math.min(Number(to), size - 1);
  return first > last ? 'unsatisfiable' : { first, last };
}

/** `main.1a2b3c4d.js`, `chunk-0f3a….css` (Webpack, Parcel, Next): digits and letters, so neither a word nor a date. */
const hexHash = /[.-](?=\d*[a-f])(?=[a-f]*\d)[\da-f]{8,64}\./;

/** `index-DiwrgTda.js`, `main-5QZT3CDE.js`, `start.Bx1_aQ3d.js` (Vite, Angular, SvelteKit): a capital not only first. */
const codeHash = /[.-](?=[\w-]+[A-Z])(?=[\w-]*[a-z\d])[\w-]{8}\.(?:m?js|css)$/;

/** The same for pictures and fonts, which people also name by hand (`team-HomePage.png`): needs a digit inside too. */
const assetHash = /[.-](?=[\w-]*[A-Z])(?=[\w-]*\d[\w-]*[A-Za-z])[\w-]{8}\.[a-z\d]+$/;

/**
 * Whether a name contains a hash of the content, so that it can be cached for a year. In doubt "no": that costs a
 * revalidation, while a wrong "yes" leaves an old file in every browser, from which nothing can remove it.
 */
function isHashed(name: string): boolean {
  return !isDocument(name) && (hexHash.test(name) || codeHash.test(name) || assetHash.test(name));
}

/**
 * Compresses files of a build that brings no packed siblings: on first use, off the main thread, once for each version
 * and coding, and kept in a bounded part of memory. Two at a time, because sealing and unsealing sessions needs the
 * other threads: a stranger may ask for all files of a large build again and again.
 */
import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import { LRUCache } from 'lru-cache';
import type { StoredFile } from './representation.ts';

/** A smaller file fits into the packet of its headers. */
const minimumBytes = 1024;
/** A larger one would hold a thread for seconds. */
const maximumFileBytes = 8 * 1024 * 1024;
const maximumCachedBytes = 32 * 1024 * 1024;
const maximumRunning = 2;
/** Each request that waits holds an open file. */
const maximumWaiting = 32;

const compressBrotli = promisify(brotliCompress);
const compressGzip = promisify(gzip);

/** 625 kB of script become 105 kB in 9 ms of CPU at Brotli's level 5, 90 kB in 943 ms at its level 11. */
const compressors = [
  {
    coding: 'br',
    compress: (bytes: Buffer) =>
      compressBrotli(bytes, {
        params: { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
      }),
  },
  { coding: 'gzip', compress: (bytes: Buffer) => compressGzip(bytes) },
] as const;

export type Compressor = (typeof compressors)[number];

/** The codings for a file, the one that compresses best first; none if it is too small or too large. */
export function compressorsFor({ size }: StoredFile): readonly Compressor[] {
  return size >= minimumBytes && size <= maximumFileBytes ? compressors : [];
}

/** A file in another coding, in memory. */
export interface CompressedFile extends StoredFile {
  readonly bytes: Buffer;
}

export function createCompressedFiles() {
  const cache = new LRUCache<string, { readonly file: CompressedFile | undefined }>({
    maxSize: maximumCachedBytes,
    sizeCalculation: ({ file }) => (file?.bytes.length ?? 0) + minimumBytes,
  });
  const pending = new Map<string, Promise<CompressedFile | undefined>>();
  const waiting: (() => void)[] = [];
  let running = 0;

  /** @returns undefined if the file changes meanwhile or doesn't get smaller, and if too many others are compressed */
  async function compressed(
    file: StoredFile & { readonly handle: FileHandle },
    compressor: Compressor,
  ): Promise<CompressedFile | undefined> {
    const etag = `${file.etag.slice(0, -1)}-${compressor.coding}"`;
    const cached = cache.get(etag);
    if (cached !== undefined) return cached.file;
    const begun = pending.get(etag);
    if (begun !== undefined) return begun;
    return waiting.length < maximumWaiting ? compressOnce(file, etag, compressor) : undefined;
  }

  function compressOnce(
    file: StoredFile & { readonly handle: FileHandle },
    etag: string,
    compressor: Compressor,
  ): Promise<CompressedFile | undefined> {
    const started = inTurn(() => compressFile(file, etag, compressor)).finally(() => pending.delete(etag));
    pending.set(etag, started);
    return started;
  }

  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (running < maximumRunning) running++;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  }

  async function compressFile(
    { handle, size, modified }: StoredFile & { readonly handle: FileHandle },
    etag: string,
    { compress }: Compressor,
  ): Promise<CompressedFile | undefined> {
    const plain = await readWhole(handle, size);
    if (plain === undefined) return undefined;
    const bytes = await compress(plain);
    const file = bytes.length < size ? { size: bytes.length, modified, etag, bytes } : undefined;
    cache.set(etag, { file });
    return file;
  }

  return compressed;
}

/** @returns undefined if the file is shorter than it was */
async function readWhole(handle: FileHandle, size: number): Promise<Buffer | undefined> {
  const bytes = Buffer.allocUnsafe(size);
  let position = 0;
  while (position < size) {
    const { bytesRead } = await handle.read(bytes, position, size - position, position);
    if (bytesRead === 0) return undefined;
    position += bytesRead;
  }
  return bytes;
}

/** The logo of Sallyport's own pages. They load nothing, so it is written into them, and must be small. */
import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { codeOf } from '../http/errors.ts';

const maximumBytes = 32 * 1024;

/** An XML declaration, comments and the document type (XML 1.0 2.8) may come before the image. */
const svgStart =
  /^\uFEFF?\s*(?:<\?(?:(?!\?>)[^])*\?>\s*|<!--(?:(?!-->)[^])*-->\s*|<!DOCTYPE\s+svg\b[^[>]*(?:\[[^\]]*\]\s*)?>\s*)*<svg[\s/>]/;

/** What a file begins with, whatever its name says: a browser must not be told another type. */
const types: ReadonlyArray<readonly [mediaType: string, isOf: (bytes: Buffer) => boolean]> = [
  ['image/png', (bytes) => bytes.subarray(0, 8).equals(Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'))],
  ['image/jpeg', (bytes) => bytes.subarray(0, 3).equals(Buffer.from([0xff, 0xd8, 0xff]))],
  ['image/webp', (bytes) => bytes.toString('latin1', 0, 4) === 'RIFF' && bytes.toString('latin1', 8, 12) === 'WEBP'],
  ['image/svg+xml', (bytes) => svgStart.test(bytes.toString())],
];

/** @returns a `data:` URL (RFC 2397), or why the file is no logo, with the remedy */
export function readLogo(file: string): { readonly url: string } | { readonly fault: string } {
  const path = resolve(file);
  try {
    const { size } = statSync(path);
    if (size > maximumBytes) {
      return { fault: `"${path}" has ${size} bytes; a logo has at most ${maximumBytes}, for it is in each page` };
    }
    const bytes = readFileSync(path);
    const [mediaType] = types.find(([, isOf]) => isOf(bytes)) ?? [];
    if (mediaType === undefined) return { fault: `"${path}" is no SVG, PNG, JPEG or WebP image` };
    return { url: `data:${mediaType};base64,${bytes.toString('base64')}` };
  } catch (error) {
    return { fault: `"${path}" cannot be read (${codeOf(error)}); correct the path or its permissions` };
  }
}

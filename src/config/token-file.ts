/** The token of a workload, as Kubernetes and Entra ID put it into a file (RFC 7523 2.2). */
import { UnusableFile } from './key-file.ts';

/** Longer than the headers and forms that providers take. */
const maximumLength = 32 * 1024;

/** @returns the JWT that the file holds @throws {UnusableFile} */
export function parseTokenFile(content: string): string {
  const token = content.trim();
  if (token === '') throw new UnusableFile('is empty; the platform has to write the token of this workload into it');
  if (token.length > maximumLength || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) {
    throw new UnusableFile('holds no signed JWT');
  }
  return token;
}

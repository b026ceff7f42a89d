/** `sallyport keygen`: prints a sealing secret of 256 random bits, and nothing else, so that a script can use it. */
import { randomBytes } from 'node:crypto';

export function keygen(): void {
  console.log(randomBytes(32).toString('base64url'));
}

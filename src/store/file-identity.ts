/** Which file has a name: another one has another identity, also where it holds the same. */
import { statSync } from 'node:fs';

/** Undefined if no file has the name. */
export function identityOf(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found === undefined ? undefined : `${found.dev}:${found.ino}`;
}

export function isReplaced(path: string, identity: string | undefined): boolean {
  try {
    return identityOf(path) !== identity;
  } catch {
    // A folder that this user may no longer look into: nothing is known, and what is open can be used.
    return false;
  }
}

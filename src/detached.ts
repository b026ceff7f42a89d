/** Work that no caller waits for. An unhandled rejection ends the process, so each such failure has an owner. */

/** @param onError receives the failure; must not throw */
export function detach(work: Promise<unknown>, onError: (error: unknown) => void): void {
  work.catch(onError);
}

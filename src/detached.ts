/** Work that no caller waits for. An unhandled rejection ends the process, so a failure must have an owner here, too. */

/** @param onError takes the failure; must not throw */
export function detach(work: Promise<unknown>, onError: (error: unknown) => void): void {
  work.catch(onError);
}

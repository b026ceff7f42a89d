/** Waiting with a limit. */

/**
 * Waits for `work`, but at most `ms`. The work itself goes on, and its failure after that has no effect.
 * @param onTimeout yields the result instead, or throws
 */
export async function withTimeout<T>(work: Promise<T>, ms: number, onTimeout: () => T): Promise<T> {
  const late = Promise.withResolvers<typeof timedOut>();
  const timer = setTimeout(() => late.resolve(timedOut), ms).unref();
  try {
    const result = await Promise.race([work, late.promise]);
    return result === timedOut ? onTimeout() : result;
  } finally {
    clearTimeout(timer);
  }
}

const timedOut: unique symbol = Symbol('timedOut');

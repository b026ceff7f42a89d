/**
 * How long to wait after failures in a row that may pass. The first allows another try at once: one dropped connection is
 * no outage. From the second on there is a pause, which doubles.
 */
import { retryAfterMs } from '../oidc/provider-errors.ts';

const firstPauseMs = 1000;
const maximumPauseMs = 30_000;

/**
 * @param count of the failures in a row, the last included
 * @param error the last one, which may ask for a longer pause (`Retry-After`)
 */
export function pauseMsAfter(count: number, error: unknown): number {
  const pauseMs = count === 1 ? 0 : Math.min(maximumPauseMs, firstPauseMs * 2 ** (count - 2));
  return Math.max(pauseMs, retryAfterMs(error));
}

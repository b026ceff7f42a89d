/** The two clocks of sessions and tokens. Tests put others in place of both. */

/** Seconds since 1970: for the times in tokens and cookies, which other machines read. */
export function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

/** Milliseconds on a clock that nobody sets: for durations. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

/** A time in ISO 8601, as programs get it. */
export function isoTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}

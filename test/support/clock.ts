/**
 * The clock of the tests. Only `Date` and `process.hrtime` are faked, so that sockets and timers go on; it moves Sallyport, the provider and the
 * cookie jar alike.
 */
import { onTestFinished, vi, type MockInstance } from 'vitest';

/** Stops the date until the test moves it with `vi.advanceTimersByTime`. The real one returns when the test is over. */
export function fakeDate(now: Date = new Date()): void {
  vi.useFakeTimers({ toFake: ['Date', 'hrtime'], now });
  onTestFinished(() => void vi.useRealTimers());
}

/**
 * As {@link fakeDate}, for all tests of a file that share a world: the world must begin and end on the same clock.
 * @returns gives the real one back
 */
export function fakeDateForAll(): () => void {
  vi.useFakeTimers({ toFake: ['Date', 'hrtime'] });
  return () => void vi.useRealTimers();
}

/** As {@link fakeDate}, but the date goes on by itself as well: for what waits for a time to pass. */
export function fakeMovingDate(): void {
  vi.useFakeTimers({ toFake: ['Date', 'hrtime'], shouldAdvanceTime: true });
  onTestFinished(() => void vi.useRealTimers());
}

/** Moves the date past the expiry of an access token that was issued now: by default it lives for 300 s. */
export function expireAccessToken(): void {
  vi.advanceTimersByTime(301_000);
}

/** Moves the date into the last 30 s of an access token that was issued now, in which it is refreshed ahead of time. */
export function almostExpireAccessToken(): void {
  vi.advanceTimersByTime(295_000);
}

/** As {@link fakeDate}; also what happens at intervals, such as the search for sessions that are over, waits for the test. */
export function fakeDateAndIntervals(): void {
  vi.useFakeTimers({ toFake: ['Date', 'hrtime', 'setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
}

/** Timers of exactly this duration take another one until the mock is restored, at the latest when the test is over. */
export function changeTimers(fromMs: number, toMs: number): MockInstance {
  const wait = globalThis.setTimeout;
  return vi
    .spyOn(globalThis, 'setTimeout')
    .mockImplementation((callback: () => void, milliseconds?: number) =>
      wait(callback, milliseconds === fromMs ? toMs : milliseconds),
    );
}

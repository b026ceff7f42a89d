/** What the demo's page shows of Sallyport's work: each person's own events, and nothing that is secret. */
import { expect, test, vi } from 'vitest';
import { createTimeline, recordEvents, type TimelineEntry } from '../../spa-example/demo/timeline.ts';
import { createEvents } from '../../src/events.ts';

const kindsOf = (entries: readonly TimelineEntry[]): string[] => entries.map(({ kind }) => kind);

test('takes over what happens to a session for the person whose it is, and for nobody else', () => {
  const timeline = createTimeline();
  const events = createEvents();
  recordEvents(timeline, events);
  events.emit({ type: 'login.succeeded', session: 'a', subject: 'alice' });
  events.emit({ type: 'login.succeeded', session: 'b', subject: 'bob' });
  events.emit({ type: 'token.refreshed', session: 'a', generation: 1 });
  events.emit({ type: 'session.ended', session: 'b', reason: 'logout', remote: false });
  events.emit({ type: 'session.ended', session: 'unknown', reason: 'operator', remote: false });
  expect(kindsOf(timeline.read('alice'))).toEqual(['signed-in', 'token-renewed']);
  expect(timeline.read('bob')).toMatchObject([{ kind: 'signed-in' }, { kind: 'session-ended', reason: 'logout' }]);
  // The hash of a session has no place on a page.
  expect(JSON.stringify(timeline.read('bob'))).not.toContain('"b"');
});

test('counts calls of one moment as one entry, and calls of another moment as another', () => {
  vi.useFakeTimers();
  const timeline = createTimeline();
  for (let call = 0; call < 20; call++) timeline.record('alice', 'call-repeated');
  expect(timeline.read('alice')).toMatchObject([{ kind: 'call-repeated', count: 20 }]);
  vi.advanceTimersByTime(5000);
  timeline.record('alice', 'call-repeated');
  expect(timeline.read('alice').map(({ count }) => count)).toEqual([20, 1]);
  vi.useRealTimers();
});

test('tells followers of their own person, as long as they follow, and takes twenty of them', () => {
  const timeline = createTimeline();
  const seen: string[] = [];
  const stop = timeline.follow('alice', ({ kind }) => seen.push(kind));
  timeline.record('bob', 'signed-in');
  timeline.record('alice', 'signed-in');
  stop?.();
  timeline.record('alice', 'token-renewed');
  expect(seen).toEqual(['signed-in']);

  const follow = () => timeline.follow('alice', () => undefined);
  const stops = Array.from({ length: 20 }, follow);
  expect(stops).not.toContain(undefined);
  expect(follow()).toBeUndefined();
  stops[0]?.();
  expect(follow()).toBeDefined();
});

test('keeps the latest thirty entries', () => {
  const timeline = createTimeline();
  for (let count = 0; count < 40; count++) timeline.record('alice', 'token-renewed');
  expect(timeline.read('alice').map(({ id }) => id)).toEqual(Array.from({ length: 30 }, (_, index) => index + 11));
});

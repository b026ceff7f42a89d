/** Since when a store has heard every message: what heartbeats prove that come late, in part or not at all. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { monotonicMs } from '../../src/clock.ts';
import type { RedisConnection } from '../../src/store/redis-connection.ts';
import type { RedisLink } from '../../src/store/redis-link.ts';
import { createRedisMessages, type RedisMessages } from '../../src/store/redis-messages.ts';
import { createRedisOutages } from '../../src/store/redis-outages.ts';

/** A server whose heartbeats arrive when the test says so. */
interface Publisher {
  readonly link: RedisLink;
  /** Heartbeats on their way. */
  readonly sent: string[];
  readonly deliver: () => void;
}

let messages: RedisMessages;
let subscriptions: number;
let hear: (text: string, channel: string) => void;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'hrtime', 'performance'] });
  subscriptions = 0;
});

afterEach(async () => {
  await messages.close();
  vi.useRealTimers();
});

function createPublisher(): Publisher {
  const sent: string[] = [];
  let channel = '';
  const link: RedisLink = {
    async send([, to = '', text = '']) {
      channel = to;
      sent.push(text);
      return 1;
    },
    isConnected: () => true,
    drop: () => undefined,
    close: async () => undefined,
  };
  return { link, sent, deliver: () => hear(sent.shift() ?? 'nothing', channel) };
}

async function listenTo(...publishers: readonly Publisher[]): Promise<void> {
  const nodes = {
    publishers: () => publishers.map(({ link }) => link),
    connectToSubscribe: async () => createConnection(),
  };
  messages = createRedisMessages({ nodes, prefix: 'test:', outages: createRedisOutages(() => undefined) });
  await vi.advanceTimersByTimeAsync(0);
  expect(publishers.map(({ sent }) => sent.length)).toEqual(publishers.map(() => 1));
}

function createConnection(): RedisConnection {
  const lost = Promise.withResolvers<Error>();
  subscriptions += 1;
  return {
    send: async () => undefined,
    async subscribe(_channels, listener) {
      hear = listener;
    },
    lost: lost.promise,
    wasUsed: () => true,
    drop: (cause) => lost.resolve(cause),
    close: async () => lost.resolve(new Error('closed')),
  };
}

/** Lets time pass until each publisher has been given one more heartbeat. */
async function untilNextBeat(publisher: Publisher): Promise<void> {
  const before = publisher.sent.length;
  while (publisher.sent.length === before) await vi.advanceTimersByTimeAsync(10);
}

test('a heartbeat that comes back proves all that was published after it was sent', async () => {
  const publisher = createPublisher();
  await listenTo(publisher);
  const sentAt = monotonicMs();
  expect(messages.heardSince()).toBeUndefined();
  await vi.advanceTimersByTimeAsync(300);
  publisher.deliver();
  expect(messages.heardSince()).toBeGreaterThanOrEqual(sentAt);
  expect(messages.heardSince()).toBeLessThan(sentAt + 250);
});

test('a heartbeat proves nothing two seconds after it was sent', async () => {
  const publisher = createPublisher();
  await listenTo(publisher);
  publisher.deliver();
  await vi.advanceTimersByTimeAsync(1900);
  expect(messages.heardSince()).toBeDefined();
  await vi.advanceTimersByTimeAsync(200);
  expect(messages.heardSince()).toBeUndefined();
});

test('heartbeats that come late, but all of them, leave nothing out', async () => {
  const publisher = createPublisher();
  await listenTo(publisher);
  publisher.deliver();
  const since = messages.heardSince();
  for (let beat = 0; beat < 10; beat += 1) {
    await untilNextBeat(publisher);
    await vi.advanceTimersByTimeAsync(700);
    publisher.deliver();
    expect(messages.heardSince()).toBe(since);
  }
});

test('where one heartbeat is missing, a message may be missing as well', async () => {
  // The next one is sent before the missing one is given up.
  vi.spyOn(Math, 'random').mockReturnValue(0);
  const publisher = createPublisher();
  await listenTo(publisher);
  publisher.deliver();
  const since = messages.heardSince() ?? Infinity;
  await untilNextBeat(publisher);
  publisher.sent.shift();
  await untilNextBeat(publisher);
  publisher.deliver();
  expect(messages.heardSince()).toBeGreaterThan(since);
  expect(subscriptions).toBe(1);
});

test('a server that was connected anew may be another one, though messages go on to come', async () => {
  const publisher = createPublisher();
  await listenTo(publisher);
  publisher.deliver();
  await untilNextBeat(publisher);
  await vi.advanceTimersByTimeAsync(50);
  const connectedAt = monotonicMs();
  messages.doubt();
  expect(messages.heardSince()).toBeUndefined();
  // One that went the way from before.
  publisher.deliver();
  expect(messages.heardSince()).toBeUndefined();
  publisher.deliver();
  expect(messages.heardSince()).toBeGreaterThanOrEqual(connectedAt);
  expect(subscriptions).toBe(1);
});

test('a proof that ran out while this process stood still is asked for at once', async () => {
  const publisher = createPublisher();
  await listenTo(publisher);
  publisher.deliver();
  const since = messages.heardSince();
  // Its timers have not run yet.
  const stoodStill = vi.spyOn(process, 'hrtime').mockReturnValue([60, 0]);
  expect(messages.heardSince()).toBeUndefined();
  publisher.deliver();
  expect(messages.heardSince()).toBe(since);
  stoodStill.mockRestore();
});

test('a server whose heartbeat does not come back may have told something', async () => {
  const [one, other] = [createPublisher(), createPublisher()];
  await listenTo(one, other);
  one.deliver();
  expect(messages.heardSince()).toBeUndefined();
  other.deliver();
  expect(messages.heardSince()).toBeDefined();
});

test('a subscription on which a heartbeat does not come back within a second is made anew', async () => {
  const publisher = createPublisher();
  await listenTo(publisher);
  publisher.deliver();
  const since = messages.heardSince() ?? Infinity;
  publisher.sent.length = 0;
  await vi.advanceTimersByTimeAsync(2500);
  await vi.waitFor(() => expect(subscriptions).toBe(2));
  expect(messages.heardSince()).toBeUndefined();
  // One from before the new subscription proves nothing.
  hear('2', 'test:messages');
  expect(messages.heardSince()).toBeUndefined();
  publisher.sent.splice(0, publisher.sent.length - 1);
  publisher.deliver();
  expect(messages.heardSince()).toBeGreaterThan(since);
});

test.each(['', '0', '1.5', '-1', 'NaN', '99', 'x'])('a heartbeat %s of a stranger proves nothing', async (text) => {
  const publisher = createPublisher();
  await listenTo(publisher);
  const { sent } = publisher;
  sent.unshift(text);
  publisher.deliver();
  expect(messages.heardSince()).toBeUndefined();
});

/** The pause while a provider is down, and how calls come back when it answers again. */
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createCircuitBreaker, PausedError, UnaskedError, type Turn } from '../../src/oidc/circuit-breaker.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['hrtime'] });
  onTestFinished(() => void vi.useRealTimers());
});

async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate);
}

/** A provider whose answers the test gives, one by one. */
function startCalls() {
  const breaker = createCircuitBreaker(() => 0);
  const open: PromiseWithResolvers<void>[] = [];
  const paused: unknown[] = [];
  let begun = 0;

  function call(): void {
    begun += 1;
    const run = breaker.run(`session ${begun}`, () => {
      const answer = Promise.withResolvers<void>();
      open.push(answer);
      return answer.promise;
    });
    run.catch((error: unknown) => (error instanceof PausedError ? paused.push(error) : undefined));
  }

  return {
    /** How many calls the provider has not answered. */
    asked: () => open.length,
    /** How many were told to come again. */
    paused: () => paused.length,
    async callTimes(count: number): Promise<void> {
      for (let each = 0; each < count; each += 1) call();
      await settle();
    },
    async answer(count: number): Promise<void> {
      for (const each of open.splice(0, count)) each.resolve();
      await settle();
    },
    async fail(count: number): Promise<void> {
      for (const each of open.splice(0, count)) each.reject(new Error('away'));
      await settle();
    },
  };
}

/** As after an outage: the trial is the one call that the provider has not answered. */
async function afterOutage(waiting: number) {
  const calls = startCalls();
  await calls.callTimes(5);
  await calls.fail(5);
  await calls.callTimes(1);
  expect([calls.asked(), calls.paused()]).toEqual([0, 1]);
  vi.advanceTimersByTime(1001);
  await calls.callTimes(1 + waiting);
  expect(calls.asked()).toBe(1);
  return calls;
}

describe('after an outage', () => {
  test('four calls run at a time at first, and each answer admits one more', async () => {
    const calls = await afterOutage(30);
    await calls.answer(1);
    expect(calls.asked()).toBe(4);
    await calls.answer(1);
    expect(calls.asked()).toBe(5);
    await calls.answer(5);
    expect(calls.asked()).toBe(10);
  });

  test('all calls run when 256 have run at a time', async () => {
    const calls = await afterOutage(1000);
    await calls.answer(1);
    for (let answers = 0; answers < 252; answers += 1) await calls.answer(1);
    expect(calls.asked()).toBe(256);
    await calls.answer(1);
    expect(calls.asked()).toBe(1000 - 253);
  });

  test('a failure makes them few again', async () => {
    const calls = await afterOutage(100);
    await calls.answer(1);
    for (let answers = 0; answers < 10; answers += 1) await calls.answer(1);
    expect(calls.asked()).toBe(14);
    await calls.fail(1);
    expect(calls.asked()).toBe(13);
    await calls.answer(8);
    // Of 12 that may run at a time now, 5 did.
    expect(calls.asked()).toBe(12);
  });

  test('those that wait are told to come again when it goes down again', async () => {
    const calls = await afterOutage(30);
    await calls.answer(1);
    await calls.fail(4);
    expect(calls.paused()).toBe(1);
    await calls.fail(1);
    expect(calls.paused()).toBe(1 + 30 - 8);
    // Those in flight are no news, and keep nobody in the line.
    await calls.fail(calls.asked());
    expect([calls.asked(), calls.paused()]).toEqual([0, 23]);
  });
});

const away = () => Promise.reject(new Error('away'));

/** A breaker whose pause is over: the next call is the trial. */
async function afterPause() {
  const breaker = createCircuitBreaker(() => 0);
  for (let each = 0; each < 5; each += 1) await breaker.run(`session ${each}`, away).catch(() => undefined);
  await expect(breaker.run('session', async () => undefined)).rejects.toThrow(PausedError);
  vi.advanceTimersByTime(1001);
  return breaker;
}

describe('the turn to be the trial', () => {
  test.each<[string, (turn: Turn) => Promise<unknown>]>([
    ['needs no call', async () => undefined],
    ['passes, and fails', (turn) => (turn.pass(), Promise.reject(new Error('no claim')))],
    ['fails before its call', () => Promise.reject(new Error('no claim'))],
    ['cannot ask', (turn) => turn.run(() => Promise.reject(new UnaskedError('provider_unavailable', 'no key')))],
  ])('is the next one when a task %s', async (_, task) => {
    const breaker = await afterPause();
    const gate = Promise.withResolvers<void>();
    const first = breaker.inTurn('first', (turn) => gate.promise.then(() => task(turn))).catch(() => undefined);
    const asked: string[] = [];
    const answer = Promise.withResolvers<void>();
    const ask = (name: string) => breaker.run(name, () => (asked.push(name), answer.promise));
    const others = [ask('second'), ask('third')];
    await settle();
    expect(asked).toEqual([]);
    gate.resolve();
    await first;
    await settle();
    expect(asked).toEqual(['second']);
    answer.resolve();
    await Promise.all(others);
    expect(asked).toEqual(['second', 'third']);
  });

  test('is over after its call, whatever the task does then', async () => {
    const breaker = await afterPause();
    const stored = Promise.withResolvers<void>();
    const first = breaker.inTurn('first', async (turn) => {
      await turn.run(() => Promise.reject(new UnaskedError('provider_unavailable', 'no key'))).catch(() => undefined);
      await stored.promise;
    });
    expect(await breaker.run('second', async () => 'asked')).toBe('asked');
    stored.resolve();
    await first;
  });

  test('is waited for again by a task that let others go first', async () => {
    const breaker = await afterPause();
    const events: string[] = [];
    const answer = Promise.withResolvers<void>();
    const first = breaker.inTurn('first', async (turn) => {
      turn.pass();
      await settle();
      await turn.run(async () => void events.push('first'));
    });
    const second = breaker.run('second', () => answer.promise.then(() => events.push('second')));
    await settle();
    await settle();
    expect(events).toEqual([]);
    answer.resolve();
    await Promise.all([first, second]);
    expect(events).toEqual(['second', 'first']);
  });

  test('does not come during a pause, in which a task may do without', async () => {
    const breaker = await afterPause();
    await breaker.run('trial', away).catch(() => undefined);
    expect(await breaker.inTurn('session', async () => 'done')).toBe('done');
    await expect(breaker.inTurn('session', (turn) => turn.run(async () => 'asked'))).rejects.toThrow(PausedError);
  });
});

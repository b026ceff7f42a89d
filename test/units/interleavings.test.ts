/**
 * Two instances, one store, and every order in which their operations, the replies, the messages and the provider's
 * answers can come: what no journey can time. Each run draws an order; a failure is reported with the shortest one.
 */
import * as fc from 'fast-check';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { resolveConfig } from '../../src/config/config.ts';
import { nowSeconds } from '../../src/clock.ts';
import { detach } from '../../src/detached.ts';
import { createEvents } from '../../src/events.ts';
import type { Provider } from '../../src/oidc/provider.ts';
import { revokeRefreshToken } from '../../src/oidc/revocation.ts';
import { createSessionSealer } from '../../src/session/session-sealer.ts';
import { createSessions, type OpenedSession, type SessionEntry } from '../../src/session/sessions.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { TokenSet } from '../../src/token-set.ts';
import type { IncomingMessage } from 'node:http';
import { resourceRequestOf } from '../../src/oidc/resources.ts';
import { tokenIn } from '../../src/tokens/bearer.ts';
import { createRefresher } from '../../src/tokens/refresh.ts';
import { createResourceTokens } from '../../src/tokens/resource-tokens.ts';
import { createSessionTokens } from '../../src/tokens/session-tokens.ts';
import type { TokenCall, TokenPolicy } from '../../src/tokens/token-policy.ts';
import { fakeDate } from '../support/clock.ts';
import { cookieOf, inFreeTurn } from '../support/two-instances.ts';
import { linkStore } from '../support/linked-store.ts';

beforeEach(() => fakeDate());

const config = resolveConfig({
  origin: 'http://localhost:3000',
  issuer: 'http://localhost:4000',
  client: { id: 'app', secret: 'not much of one' },
  secrets: ['a sealing secret of more than 32 characters'],
  session: { idleSeconds: 1000, lifetimeSeconds: 10_000 },
  api: [
    { path: '/access', target: 'http://localhost:5000' },
    { path: '/orders', target: 'http://localhost:5000', token: { resource: 'https://orders.test' } },
    { path: '/stock', target: 'http://localhost:5000', token: { resource: 'https://stock.test', scope: 'stock' } },
  ],
});

/** Which token a call carries: the session's own, or that of a resource, by what its text begins with. */
type Kind = 'access' | 'orders' | 'stock';

const loginAt = 1_700_000_000;

function tokensOf(refreshToken: string): TokenSet {
  const claims = { iss: 'http://localhost:4000', sub: 'alice', sid: 'provider-session', iat: loginAt };
  const idToken = `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2lnbmF0dXJl`;
  return { accessToken: `access-${refreshToken}`, accessTokenExpiresAt: nowSeconds() + 300, refreshToken, idToken };
}

/** A provider that rotates refresh tokens: one that is shown twice ends them all. */
class RotatingProvider implements Pick<Provider, 'refresh' | 'inRefreshTurn' | 'revoke'> {
  valid = 0;
  reuses = 0;
  redemptions = 0;
  isRevoked = false;
  readonly pause: () => Promise<void>;

  constructor(pause: () => Promise<void>) {
    this.pause = pause;
  }

  readonly refresh: Provider['refresh'] = async (previous, _userInfo, _key, request) => {
    const { refreshToken = '' } = previous;
    await this.pause();
    this.redemptions += 1;
    if (this.isRevoked || refreshToken !== `refresh-${this.valid}`) {
      if (!this.isRevoked) this.reuses += 1;
      this.isRevoked = true;
      return { granted: false, reason: 'refresh_rejected', cause: undefined };
    }
    this.valid += 1;
    const tokens = tokensOf(`refresh-${this.valid}`);
    await this.pause();
    const grant = { tokens, userInfo: undefined, subject: 'alice' };
    if (request === undefined) return { granted: true, grant };
    const [resource = ''] = request.resources;
    const accessToken = `${resource.slice('https://'.length, -'.test'.length)}-${this.valid}`;
    const token = { accessToken, issuedAt: nowSeconds(), expiresAt: nowSeconds() + 300 };
    const kept = { accessToken: previous.accessToken, accessTokenExpiresAt: previous.accessTokenExpiresAt };
    return { granted: true, grant: { ...grant, tokens: { ...tokens, ...kept } }, resource: { request, token } };
  };

  /** A turn may come late, as in the line after an outage. */
  readonly inRefreshTurn: Provider['inRefreshTurn'] = async (key, request, task) => {
    await this.pause();
    return inFreeTurn(key, request, task);
  };

  readonly revoke: Provider['revoke'] = async () => {
    this.isRevoked = true;
  };
}

type Fate = 'arrives' | 'is lost' | 'is late';
type Answer = 'served' | 'refused';

interface Call {
  readonly instance: number;
  readonly kind: Kind;
  readonly fate: Fate;
}

/** A browser keeps the last cookie that it was sent. */
interface Browser {
  cookie: string;
}

function startInstances(scheduler: fc.Scheduler) {
  const store = createMemoryStore();
  onTestFinished(() => store.close());
  const misplaced: string[] = [];
  const pause = async (label: string) => scheduler.schedule(Promise.resolve(), label);
  const provider = new RotatingProvider(() => pause('provider'));
  const instances = [0, 1].map((number) => {
    const events = createEvents();
    const link = {
      before: (operation: string) => pause(`${number} asks ${operation}`),
      after: (operation: string) => pause(`${number} hears ${operation}`),
      deliver: ({ type }: { type: string }, hand: () => void) =>
        detach(pause(`${number} is told ${type}`).then(hand), () => undefined),
    };
    const sessions = createSessions(config, { store: linkStore(store, link), events });
    const refresher = createRefresher(config, { provider: provider as unknown as Provider, sessions, events });
    const policies = config.api.map((route): [string, TokenPolicy] => {
      const request = resourceRequestOf(route);
      const policy =
        request === undefined
          ? createSessionTokens('required', route, { refresher })
          : createResourceTokens(request, route, { config, refresher });
      return [route.path.slice(1), policy];
    });
    return { sessions, refresher, events, policies: new Map(policies) };
  });

  function instanceOf(number: number): (typeof instances)[number] {
    const instance = instances[number];
    if (instance === undefined) throw new Error('no such instance');
    return instance;
  }

  /**
   * One call, as `proxy/api.ts` makes it.
   * @param answering how the API's answer comes
   * @returns how it was answered
   */
  async function call(
    browser: Browser,
    { instance: number, kind, fate }: Call,
    answering: () => unknown,
  ): Promise<Answer> {
    const { sessions, refresher, policies } = instanceOf(number);
    const policy = policies.get(kind);
    const header = browser.cookie;
    const opened: OpenedSession = await sessions.open(header);
    if (opened.state !== 'active' || policy === undefined) return 'refused';
    let lines: readonly string[];
    try {
      if (policy.usesSessionToken) await refresher.refreshIfDue(opened.entry);
      if (sessions.hasEnded(opened.entry)) return 'refused';
      await sessions.touch(opened.entry);
      lines = await policy.headers(callOf(opened.entry));
    } catch {
      return 'refused';
    }
    if (sessions.hasEnded(opened.entry)) return 'refused';
    if (tokenIn(lines)?.startsWith(`${kind}-`) !== true) misplaced.push(`${lines.join(': ')} at ${kind}`);
    // The API takes its time, and the answer its way.
    await pause(`${number} answers`);
    await answering();
    const [line] = sessions.newCookies(opened, header);
    await pause(`${number} has answered`);
    if (line !== undefined && fate !== 'is lost') browser.cookie = line.split(';')[0] ?? '';
    return 'served';
  }

  async function signOut(number: number, browser: Browser): Promise<void> {
    const { sessions, events } = instanceOf(number);
    const opened = await sessions.open(browser.cookie);
    if (opened.state !== 'active') throw new Error('there is no session to end');
    await sessions.end(opened.entry, 'logout');
    const { refreshToken } = opened.entry.session.tokens;
    await revokeRefreshToken(refreshToken, opened.entry.sessionHash, { provider, events });
  }

  async function signOutAtProvider(number: number): Promise<void> {
    await instanceOf(number).sessions.revoke({ sid: 'provider-session', issuedBefore: loginAt, reason: 'backchannel' });
  }

  async function signIn(): Promise<Browser> {
    return { cookie: cookieOf(await instanceOf(0).sessions.begin(tokensOf('refresh-0'), undefined)) };
  }

  return { instances, provider, misplaced, call, signIn, signOut, signOutAtProvider };
}

/** All that a policy looks at. */
function callOf(entry: SessionEntry): TokenCall {
  const request = {} as IncomingMessage;
  return { request, entry, path: '/', sentToken: undefined, obtained: undefined, wasAskedForNonce: false };
}

/** What becomes of an answer: the browser gets it at once, never, or during the calls after the next pause. */
const fate = fc.constantFrom<Fate>('arrives', 'arrives', 'is lost', 'is late');
/** The time that passes between two bursts of calls: within a token's life, about at its end, or long after. */
const pauseSeconds = fc.constantFrom(0, 30, 70, 280, 400, 900);
const kind = fc.constantFrom<Kind>('access', 'access', 'orders', 'stock');
const calls = fc.array(fc.record({ instance: fc.nat(1), kind, fate }), { minLength: 1, maxLength: 6 });
const bursts = fc.array(fc.record({ seconds: pauseSeconds, calls }), { minLength: 1, maxLength: 6 });

test('a session that goes on is served by every instance, each call with its own token, its refresh tokens are redeemed once, and cookies age', async () => {
  let redemptions = 0;
  let copies = 0;
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), bursts, async (scheduler, plan) => {
      const world = startInstances(scheduler);
      const browser = await world.signIn();
      const thief = createThief();
      let late = Promise.withResolvers<void>();
      let overdue: Promise<unknown> = Promise.resolve();
      for (const { seconds, calls: burst } of plan) {
        vi.advanceTimersByTime(seconds * 1000);
        thief.watch(browser.cookie, world.provider.valid);
        const { resolve: answerLate, promise: mayAnswer } = late;
        late = Promise.withResolvers();
        const running = burst.map((call) => start(world, browser, call, late.promise));
        const answers = await scheduler.waitFor(Promise.all(running.map(({ outcome }) => outcome)));
        expect(answers).toEqual(burst.map(({ fate: end }) => (end === 'is late' ? 'at the API' : 'served')));
        await scheduler.waitIdle();
        // What was late from the burst before comes when everything else is over.
        answerLate();
        await scheduler.waitFor(Promise.all([mayAnswer, overdue]));
        overdue = Promise.all(running.map(({ answer }) => answer));
        expect([world.provider.reuses, world.misplaced]).toEqual([0, []]);
        for (const cookie of thief.worthless()) {
          copies += 1;
          for (const { sessions } of world.instances) {
            const opened = await scheduler.waitFor(Promise.resolve(sessions.open(cookie)));
            expect(opened.state).toBe('ended');
          }
        }
      }
      redemptions += world.provider.redemptions;
    }),
    { numRuns: 200 },
  );
  expect(redemptions).toBeGreaterThan(200);
  expect(copies).toBeGreaterThan(100);
}, 120_000);

test('a sign-out at one instance ends the session at both, whatever is under way, and its tokens at the provider', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      pauseSeconds,
      calls,
      fc.boolean(),
      async (scheduler, seconds, burst, byProvider) => {
        const world = startInstances(scheduler);
        const browser = await world.signIn();
        const earlier = browser.cookie;
        vi.advanceTimersByTime(seconds * 1000);
        const answers = burst.map((call) => world.call(browser, call, () => undefined));
        const ending = byProvider ? world.signOutAtProvider(1) : world.signOut(1, browser);
        await scheduler.waitFor(Promise.all([...answers, ending]));
        await scheduler.waitIdle();
        for (const cookie of [earlier, browser.cookie]) {
          for (const { sessions } of world.instances) {
            const opened = await scheduler.waitFor(Promise.resolve(sessions.open(cookie)));
            expect(opened).toMatchObject({ state: 'ended', reason: byProvider ? 'backchannel' : 'logout' });
          }
        }
        expect([world.provider.reuses, world.misplaced]).toEqual([0, []]);
        expect(world.provider.isRevoked).toBe(!byProvider || world.provider.isRevoked);
      },
    ),
    { numRuns: 150 },
  );
}, 120_000);

/** A call, and how far it gets in its own burst: a late one to the API. */
function start(world: ReturnType<typeof startInstances>, browser: Browser, call: Call, mayAnswer: Promise<void>) {
  const reached = Promise.withResolvers<'at the API'>();
  const answer = world.call(browser, call, () => {
    reached.resolve('at the API');
    return call.fate === 'is late' ? mayAnswer : undefined;
  });
  return { answer, outcome: call.fate === 'is late' ? Promise.race([reached.promise, answer]) : answer };
}

/**
 * Copies each cookie, and knows when a copy must be worth nothing: two grace periods after the browser has shown a newer one,
 * when that was the newest. Tokens that are obtained at the same time bring several, one after the other, and of those that
 * follow each other within a grace period the first counts.
 */
function createThief() {
  const sealer = createSessionSealer(config.secrets);
  const copies = new Map<string, number>();
  const shown: { generation: number; at: number }[] = [];
  return {
    watch(cookie: string, newest: number): void {
      const { generation = 0 } = sealer.unseal(cookie.slice('session-3000='.length)) ?? {};
      copies.set(cookie, generation);
      const { at = -Infinity } = shown.at(-1) ?? {};
      const isInGrace = nowSeconds() < at + config.refresh.graceSeconds;
      if (generation === newest && !isInGrace) shown.push({ generation, at: nowSeconds() });
    },
    worthless(): string[] {
      const over = shown.filter(
        ({ at }) => nowSeconds() - at > 2 * config.refresh.graceSeconds + config.store.recheckSeconds,
      );
      return [...copies]
        .filter(([, copied]) => over.some(({ generation }) => generation > copied))
        .map(([cookie]) => cookie);
    },
  };
}

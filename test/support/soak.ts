/**
 * Many people at work on a fleet of instances while one fault comes after the other, and what became of their calls, their
 * refresh tokens and their sessions.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, vi } from 'vitest';
import type { BrowserClient } from './browser-client.ts';
import { disturb, type DoneFault, type FaultKind } from './fleet-faults.ts';
import type { StoreKind } from './fleet-store.ts';
import { startFleet, type Fleet } from './fleet.ts';
import { inParallel, signIn, type World } from './world.ts';

export interface SoakPlan {
  readonly mode: 'cookie' | 'store';
  readonly store: StoreKind;
  /** How many workers each process has; 1: it serves alone. */
  readonly workers: readonly number[];
  /** What happens, again and again in this order. */
  readonly faults: readonly FaultKind[];
  readonly people: number;
  /** How many calls a person makes at the same time. */
  readonly parallel: number;
  readonly seconds: number;
  /** The pause of a person between two bursts, on average. */
  readonly paceMs: number;
}

export interface SoakReport {
  readonly calls: number;
  /** How often each outcome came: a status, with the code of an error, or the kind of a connection's end. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Failures that no fault of the moment explains. */
  readonly unexplained: readonly string[];
  readonly faults: Readonly<Partial<Record<FaultKind, number>>>;
  /** Refresh tokens that were shown to the provider. */
  readonly refreshes: number;
  /** Those that were shown again because an instance was killed that may have used them up. */
  readonly takeovers: number;
  /** Those that were shown again otherwise. */
  readonly duplicates: readonly string[];
  /** People who were signed out and had not signed out. */
  readonly lost: number;
  /** Sessions that ended, by reason, without the sign-outs at the end. */
  readonly ends: Readonly<Record<string, number>>;
  /** Milliseconds that a call took: half of them, 99 of 100, all. */
  readonly latencies: { readonly p50: number; readonly p99: number; readonly most: number };
  /** Cookies that were served after their session's sign-out. */
  readonly revived: number;
  /** What the processes logged as faults of their own. */
  readonly ownFaults: readonly string[];
}

interface Outcome {
  readonly what: string;
  readonly from: number;
  readonly until: number;
}

const tokenSeconds = 5;
/** How long a refresh takes at most, from its request to the provider until its result is in the store. */
const refreshMs = 10_000;
/** By how much this process may be late in seeing what happened. */
const seenWithinMs = 1000;
/** After a fault is over: connections are made anew, calls that waited are answered. */
const recoveryMs = 4000;
/** How many people sign in at the same time. */
const atOnce = 4;

export async function soak(plan: SoakPlan): Promise<SoakReport> {
  const fleet = await startFleet({
    store: plan.store,
    workers: plan.workers,
    settings: { session: { mode: plan.mode } },
    provider: { settings: { lifetimes: { ...defaultLifetimes, accessToken: tokenSeconds } } },
    // They are counted here.
    repeatsRefreshTokens: true,
  });
  const { provider } = fleet.world;
  const outcomes: Outcome[] = [];
  const reuse = watchReuse(provider);
  const people = Array.from({ length: plan.people }, () => createPerson(fleet, plan, outcomes));
  for (let at = 0; at < people.length; at += atOnce) {
    await Promise.all(people.slice(at, at + atOnce).map((person) => person.arrive()));
  }
  const working = people.map((person) => person.work());
  const faults = await disturb(fleet, plan.faults, plan.seconds);
  await sleep(recoveryMs);
  for (const person of people) person.stop();
  await Promise.all(working);
  for (const person of people) await person.workOnce();
  const ends = endsOf(fleet);
  const revived = await signAllOut(fleet, people);
  reuse.stop();

  const duplicates = reuse.found.filter((each) => !isTakeover(each, reuse.endedAt, faults));
  const took = outcomes.map(({ from, until }) => until - from).toSorted((one, other) => one - other);
  return {
    calls: outcomes.length,
    outcomes: countBy(outcomes, ({ what }) => what),
    unexplained: outcomes
      .filter((outcome) => !isExplained(outcome, faults))
      .map((outcome) => describeOutcome(outcome, faults))
      .slice(0, 10),
    faults: { ...Object.fromEntries(plan.faults.map((kind) => [kind, 0])), ...countBy(faults, ({ kind }) => kind) },
    refreshes: provider.calls.refresh,
    takeovers: reuse.found.length - duplicates.length,
    duplicates: duplicates.map((each) => describeReuse(each, reuse.endedAt.get(each.first.port), faults)),
    lost: people.reduce((sum, person) => sum + person.lost(), 0),
    ends,
    latencies: { p50: quantile(took, 0.5), p99: quantile(took, 0.99), most: quantile(took, 1) },
    revived,
    ownFaults: ownFaultsOf(fleet),
  };
}

const defaultLifetimes = { idToken: 300, refreshToken: 86_400, code: 60, session: 86_400 };

/** What holds for every soak, however long. */
export function expectNobodyNoticed(report: SoakReport): void {
  const { unexplained, duplicates, lost, ends, revived, ownFaults, takeovers } = report;
  expect({ unexplained, duplicates, revived, ownFaults }).toEqual({
    unexplained: [],
    duplicates: [],
    revived: 0,
    ownFaults: [],
  });
  const interrupted = ends['refresh_interrupted'] ?? 0;
  expect(ends).toEqual(interrupted === 0 ? {} : { refresh_interrupted: interrupted });
  expect(lost).toBe(interrupted);
  expect(interrupted).toBeLessThanOrEqual(takeovers);
}

interface Person {
  readonly browser: BrowserClient;
  /** Signs in; tries again where a fault keeps them out. */
  readonly arrive: () => Promise<void>;
  /** Until they are stopped. */
  readonly work: () => Promise<void>;
  /** Makes a call, and fails unless it succeeds at last. */
  readonly workOnce: () => Promise<void>;
  readonly stop: () => void;
  readonly lost: () => number;
}

function createPerson({ world }: Fleet, { parallel, paceMs }: SoakPlan, outcomes: Outcome[]): Person {
  const stopped = new AbortController();
  let browser = world.client();
  let lost = 0;

  async function arrive(): Promise<void> {
    await vi.waitFor(
      async () => {
        browser.close();
        browser = world.client();
        await signIn(browser);
      },
      { timeout: 60_000, interval: 500 },
    );
  }

  async function call(index: number): Promise<string> {
    const from = performance.now();
    const what = await browser.fetch(`/api/${index}`).then(
      ({ status, text, headers }) => describeAnswer(status, text, headers['retry-after']),
      (error: unknown) => `cut ${(error as NodeJS.ErrnoException).code ?? String(error)}`,
    );
    outcomes.push({ what, from, until: performance.now() });
    return what;
  }

  async function burst(): Promise<void> {
    const made = await Promise.all(Array.from({ length: parallel }, (_, index) => call(index)));
    browser.seen.length = 0;
    if (!made.some((what) => what.startsWith('401'))) return;
    lost += 1;
    if (!stopped.signal.aborted) await arrive();
  }

  return {
    get browser() {
      return browser;
    },
    arrive,
    async work() {
      while (!stopped.signal.aborted) {
        await sleep(paceMs * 2 * Math.random(), undefined, { signal: stopped.signal }).catch(() => undefined);
        await burst();
      }
    },
    async workOnce() {
      await vi.waitFor(async () => expect(await call(0)).toBe('200'), { timeout: 15_000, interval: 500 });
    },
    stop: () => stopped.abort(),
    lost: () => lost,
  };
}

function describeAnswer(status: number, text: string, retryAfter: string | undefined): string {
  if (status === 200) return '200';
  const { code } = text.startsWith('{') ? (JSON.parse(text) as { code?: string }) : {};
  return `${status} ${code ?? text.slice(0, 80)}${status === 503 && retryAfter === undefined ? ' without Retry-After' : ''}`;
}

/** Whether a fault of about that time accounts for it. A lost session is counted for itself. */
function isExplained({ what, from, until }: Outcome, faults: readonly DoneFault[]): boolean {
  if (what === '200' || what === '401 session_expired') return true;
  const near = faults.filter((fault) => fault.from <= until && from <= fault.until + recoveryMs);
  const kinds = new Set(near.map(({ kind }) => kind));
  if (what === '503 store_unavailable') return [...kinds].some((kind) => storeFaults.has(kind));
  // A refresh that an instance was killed in, or cut off from the store, is taken over late where the machine is busy.
  if (what === '503 provider_unavailable') return [...kinds].some((kind) => kind !== 'reload');
  // While no instance is ready, as where all wait for the store, the balancer has nobody to give a connection to.
  return what.startsWith('cut ') && [...kinds].some((kind) => kind !== 'reload');
}

function describeOutcome({ what, from, until }: Outcome, faults: readonly DoneFault[]): string {
  const last = faults.findLast((fault) => fault.from <= until);
  const after = last === undefined ? 'no fault' : `${last.kind} from ${seconds(last.from)} to ${seconds(last.until)}`;
  return `${what} from ${seconds(from)} to ${seconds(until)}, after ${after}`;
}

const storeFaults: ReadonlySet<FaultKind> = new Set(['pause', 'cut', 'failover']);
/** What ends a process in the middle of its work. */
const killingFaults: ReadonlySet<FaultKind> = new Set(['kill', 'kill worker', 'hang worker']);

interface Showing {
  readonly at: number;
  /** The connection by which it came. */
  readonly port: number;
}

/** A refresh token that was shown to the provider more than once. */
interface Reuse {
  readonly first: Showing;
  readonly again: Showing;
}

interface ReuseWatch {
  readonly found: readonly Reuse[];
  /** When each connection to the provider ended. */
  readonly endedAt: ReadonlyMap<number, number>;
  readonly stop: () => void;
}

/** Which refresh tokens are shown to the provider again, and by whom. */
function watchReuse({ requests, server }: World['provider']): ReuseWatch {
  const found: Reuse[] = [];
  const endedAt = new Map<number, number>();
  const known = new WeakSet<object>();
  const shown = new Map<string, Showing>();
  let seen = 0;
  const look = () => {
    for (const { form, remotePort: port = 0 } of requests.slice(seen)) {
      seen += 1;
      const token = form['refresh_token'];
      if (token === undefined) continue;
      const again = { at: performance.now(), port };
      const first = shown.get(token);
      if (first === undefined) shown.set(token, again);
      else found.push({ first, again });
    }
  };
  const timer = setInterval(look, 20);
  server.on('request', ({ socket }) => {
    const { remotePort: port = 0 } = socket;
    if (known.has(socket)) return;
    known.add(socket);
    endedAt.delete(port);
    socket.once('close', () => endedAt.set(port, performance.now()));
  });
  return {
    found,
    endedAt,
    stop() {
      look();
      clearInterval(timer);
    },
  };
}

/** Whether the process that showed the token first was killed, or stood still, soon after that. */
function isTakeover({ first }: Reuse, endedAt: ReadonlyMap<number, number>, faults: readonly DoneFault[]): boolean {
  const ended = endedAt.get(first.port) ?? Infinity;
  return faults.some(
    ({ kind, from, until }) =>
      killingFaults.has(kind) &&
      Math.abs(first.at - from) <= (first.at < from ? refreshMs : seenWithinMs) &&
      ended >= from - seenWithinMs &&
      ended <= until + seenWithinMs,
  );
}

function seconds(at: number | undefined): string {
  return at === undefined ? 'now' : (at / 1000).toFixed(1);
}

function describeReuse({ first, again }: Reuse, ended: number | undefined, faults: readonly DoneFault[]): string {
  const near = faults.filter(({ from, until }) => from <= again.at && until >= first.at - 5000);
  const events = near.map(({ kind, from, until }) => `${kind} from ${seconds(from)} to ${seconds(until)}`).join(', ');
  return `shown at ${seconds(first.at)} by a connection until ${seconds(ended)}, again at ${seconds(again.at)}; ${events}`;
}

function endsOf(fleet: Fleet): Record<string, number> {
  const reasons = new Map<string, string>();
  for (const { msg, session, reason } of fleet.logs()) {
    if (msg === 'session.ended' && !reasons.has(String(session))) reasons.set(String(session), String(reason));
  }
  return countBy([...reasons.values()], (reason) => reason);
}

/** Everybody signs out. @returns how many of their cookies are served afterwards, by whichever instance */
async function signAllOut({ world, backends }: Fleet, people: readonly Person[]): Promise<number> {
  let revived = 0;
  for (const { browser } of people) {
    const copy = browser.clone();
    expect((await browser.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
    for (const { port } of backends) {
      copy.routeTo(port, world.origin);
      // Messages take a moment.
      await sleep(20);
      const [answer] = await inParallel(1, () => copy.fetch('/api/stolen'));
      if (answer?.status !== 401) revived += 1;
    }
    copy.close();
  }
  return revived;
}

function ownFaultsOf(fleet: Fleet): readonly string[] {
  const lines = fleet.logs().filter((line) => isOwnFault(line) && !isLostWorker(line));
  return [...new Set(lines.map((line) => JSON.stringify(line)))].slice(0, 5);
}

type LogLine = ReturnType<Fleet['logs']>[number];

function isOwnFault({ level, code }: LogLine): boolean {
  return Number(level) >= 50 || code === 'internal_error';
}

/** One that the test has killed or stopped. */
function isLostWorker({ msg, reason }: LogLine): boolean {
  return msg === 'worker.failed' && /^signal SIGKILL$|^no sign of life/.test(String(reason));
}

function countBy<Item>(items: readonly Item[], keyOf: (item: Item) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[keyOf(item)] = (counts[keyOf(item)] ?? 0) + 1;
  return counts;
}

function quantile(sorted: readonly number[], share: number): number {
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
}

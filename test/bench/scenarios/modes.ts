/**
 * GET of 1 kB by Sallyport in each of its modes, against cookie mode of one process without a store, with as many sessions
 * and on as many cores.
 */
import { fetchHeaders } from '../client.ts';
import { startSallyport, type SallyportOptions } from '../contenders.ts';
import { signInMany, writeCookies } from '../cookies.ts';
import { processCount } from '../measure.ts';
import type { Place, Running } from '../processes.ts';
import { startRedis } from '../redis.ts';
import type { Goal } from '../report.ts';

import { connections, measureFullLoad, type Subject } from './full-load.ts';
import { type Bench, ratioGoals, type Scenario } from './scenario.ts';

/** What is started. */
interface Setup {
  readonly name: string;
  readonly environment?: SallyportOptions['environment'];
  /** Signed-in browsers, of which each call is a random one's. */
  readonly sessions: number;
  readonly place?: Place;
}

const reference = { name: 'cookie mode, one process', sessions: 1 };
const manySessions = { name: 'cookie mode, 1,000 sessions', sessions: 1000 };
/** On one core two workers pay for the changes between processes, which nobody who starts workers has. */
const allCores = { name: 'one process, on all cores', sessions: 1, place: 'all' } as const;
const references: readonly Setup[] = [reference, manySessions, allCores];

interface Mode extends Setup {
  /** The name of what it is compared with. */
  readonly against: string;
  /** The most that a call may cost, against the reference. */
  readonly bound: number;
  /** Whether the process really runs in this mode: an unknown variable is but a warning. */
  readonly isReal: (running: Running, cookie: string) => boolean;
}

/** A ticket: an identifier and a key. Tokens take thousands. */
const maximumTicketLength = 400;

/** Store mode, two workers, Redis. */
export const modesScenario: Scenario = {
  name: 'modes',
  async run(bench) {
    const redis = await startRedis();
    const started: Running[] = [redis];
    const subjects: Subject[] = [];
    for (const setup of references) subjects.push(await start(bench, setup, started));
    const missing: Goal[] = [];
    const notes = ['The CPU of all processes of Sallyport counts, that of Redis does not.'];
    const modes = modesWith(`redis://127.0.0.1:${redis.port}`);
    for (const mode of modes) {
      try {
        subjects.push(await start(bench, mode, started));
      } catch (error) {
        // The others are worth measuring; the goal is missed.
        notes.push(`${mode.name}: ${String(error).slice(0, 300)}`);
        missing.push({ what: whatOf(mode), measured: Number.NaN, bound: mode.bound, kind: 'at most', unit: 'x' });
      }
    }
    const { figures, cpu } = await measureFullLoad(bench, subjects, {
      seconds: 3,
      ratios: { 'x one process': reference.name },
    });
    for (const running of started) await running.stop();
    const goals = modes.flatMap((mode) =>
      ratioGoals(cpu, mode.against, { what: whatOf(mode), bound: mode.bound, kind: 'at most' }, mode.name),
    );
    return {
      scenario: 'modes',
      title: `GET of 1 kB by each mode, ${connections} connections, at full load`,
      figures,
      goals: [...goals, ...missing],
      notes,
    };
  },
};

function modesWith(redisUrl: string): readonly Mode[] {
  const shared = { SALLYPORT_REDIS_URL: redisUrl };
  const store = { ...shared, SALLYPORT_SESSION: 'store' };
  return [
    {
      name: 'cookie mode with Redis',
      environment: shared,
      sessions: 1,
      against: reference.name,
      bound: 1.05,
      isReal: () => true,
    },
    {
      name: 'store mode',
      environment: store,
      sessions: 1,
      against: reference.name,
      bound: 1.05,
      isReal: isTicket,
    },
    {
      name: 'store mode, 1,000 sessions',
      environment: store,
      sessions: 1000,
      against: manySessions.name,
      bound: 1.05,
      isReal: isTicket,
    },
    {
      name: 'two workers, on all cores',
      environment: { SALLYPORT_WORKERS: '2' },
      sessions: 1,
      place: 'all',
      against: allCores.name,
      bound: 1.08,
      isReal: ({ pid }) => processCount(pid) === 3,
    },
  ];
}

function isTicket(_: Running, cookie: string): boolean {
  return cookie.length < maximumTicketLength;
}

function whatOf({ name, against }: Mode): string {
  return `${name}: CPU per request, against ${against}`;
}

async function start(
  bench: Bench,
  { name, environment = {}, sessions, place = 'proxy', isReal }: Setup & Pick<Partial<Mode>, 'isReal'>,
  started: Running[],
): Promise<Subject> {
  const running = await startSallyport(bench.around, { name, environment, place });
  started.push(running);
  const origin = `http://127.0.0.1:${running.port}`;
  const cookies = await signInMany(origin, Math.max(1, Math.round(sessions * Math.min(1, bench.scale))));
  const [cookie = ''] = cookies;
  if (isReal?.(running, cookie) === false) throw new Error('the process does not run in this mode');
  return {
    name,
    process: running,
    spec: {
      port: running.port,
      method: 'GET',
      path: '/api/items',
      headers: fetchHeaders(origin, cookie),
      ...(cookies.length === 1 ? {} : { cookieFile: writeCookies(name, cookies) }),
    },
  };
}

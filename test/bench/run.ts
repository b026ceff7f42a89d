/**
 * The side-by-side benchmark: `npm run bench -- [--only NAME,…] [--contenders NAME,…] [--rounds N] [--quick]`.
 *
 * Exit status: 0 when every goal is met, 1 when anything failed (one error is enough), 2 when a goal was missed.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { contenderNames, type Contender, startContender, type Surroundings } from './contenders.ts';
import { cleanUp, launch, pinned } from './processes.ts';
import { describeRun, isMet, type Outcome, printGoals, printOutcome, writeReport } from './report.ts';
import { eventsScenario } from './scenarios/events.ts';
import { expiryScenario } from './scenarios/expiry.ts';
import { firstRequestScenario } from './scenarios/first-request.ts';
import { idleScenario } from './scenarios/idle-streams.ts';
import { largeBodiesScenario } from './scenarios/large-bodies.ts';
import { latencyScenario } from './scenarios/latency.ts';
import { manyCookiesScenario } from './scenarios/many-cookies.ts';
import { modesScenario } from './scenarios/modes.ts';
import { policiesScenario } from './scenarios/policies.ts';
import { proofsScenario } from './scenarios/proofs.ts';
import { revocationScenario } from './scenarios/revocation.ts';
import type { Scenario } from './scenarios/scenario.ts';
import { sessionsScenario } from './scenarios/sessions.ts';
import { getScenario, postScenario } from './scenarios/small-calls.ts';
import { startUpstream } from './upstream/nginx.ts';

const scenarios: readonly Scenario[] = [
  getScenario,
  latencyScenario,
  postScenario,
  largeBodiesScenario,
  idleScenario,
  eventsScenario,
  firstRequestScenario,
  expiryScenario,
  modesScenario,
  policiesScenario,
  proofsScenario,
  manyCookiesScenario,
  sessionsScenario,
  revocationScenario,
];

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    contenders: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    quick: { type: 'boolean', default: false },
  },
});

process.on('exit', cleanUp);
process.on('SIGINT', () => process.exit(130));
process.on('SIGTERM', () => process.exit(143));

try {
  await main();
} catch (error) {
  console.error(`\nThe run failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
// Children that still run would keep this process alive; `cleanUp` ends them.
process.exit();

async function main(): Promise<void> {
  for (const tool of ['wrk', 'nginx', 'curl', 'redis-server']) {
    if (spawnSync(tool, ['--version']).error)
      throw new Error(`${tool} is not installed; the system's package manager has it`);
  }
  const chosen = chosenScenarios();
  const around = await startSurroundings();
  const wanted = options.contenders?.split(',') ?? contenderNames;
  const contenders: Contender[] = [];
  for (const name of contenderNames) if (wanted.includes(name)) contenders.push(await startContender(name, around));
  const rounds = options.quick ? 1 : Number(options.rounds);
  const outcomes: Outcome[] = [];
  for (const scenario of chosen) {
    const outcome = await scenario.run({ around, contenders, rounds, scale: options.quick ? 0.34 : 1 });
    printOutcome(outcome);
    outcomes.push(outcome);
  }
  printGoals(outcomes);
  console.log(`\nMedians of ${rounds} interleaved rounds; a ratio is the median of the rounds' own ratios.`);
  console.log(
    pinned
      ? 'The measured proxy has the last core for itself; load, upstream and provider share the others.'
      : 'Nothing is pinned to a core (one core only, or no taskset): expect noise.',
  );
  const folder = writeReport(describeRun(rounds, outcomes));
  console.log(`JSON and picture: ${folder}`);
  for (const contender of contenders) await contender.process.stop();
  const isComplete = outcomes.every(({ goals }) => goals.every(isMet));
  process.exitCode = isComplete ? 0 : 2;
}

function chosenScenarios(): readonly Scenario[] {
  const only = options.only?.split(',');
  if (!only) return scenarios;
  const unknown = only.filter((name) => !scenarios.some((scenario) => scenario.name === name));
  if (unknown.length > 0) {
    throw new Error(`no scenario ${unknown.join(', ')}; there are ${scenarios.map(({ name }) => name).join(', ')}`);
  }
  return scenarios.filter(({ name }) => only.includes(name));
}

async function startSurroundings(): Promise<Surroundings> {
  return {
    upstream: await startUpstream(),
    streams: await launch({ name: 'streams', place: 'rest', command: script('upstream', 'streams.ts') }),
    provider: await launch({ name: 'provider', place: 'rest', command: script('provider.ts') }),
  };
}

function script(...path: string[]): [string, ...string[]] {
  return [process.execPath, join(import.meta.dirname, ...path)];
}

/** One fault after the other, at a fleet that is at work. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fleet } from './fleet.ts';

/**
 * `kill`: a process, of several workers its first. `kill worker`, `hang worker`: one of several. `reload`: all workers are
 * replaced. `pause`, `cut`, `failover`: of the store.
 */
export type FaultKind = 'kill' | 'kill worker' | 'hang worker' | 'reload' | 'pause' | 'cut' | 'failover';

/** What was done to the fleet, in milliseconds of `performance.now()`. */
export interface DoneFault {
  readonly kind: FaultKind;
  readonly from: number;
  readonly until: number;
}

/** How long after a kill a refresh that it broke off is taken over by those who wait: the lease, and some for a busy machine. */
const takeoverMs = 7000;
/** Between two faults, so that what follows can be told from which. */
const calmMs = 3000;

/** Does these faults again and again, until the time is over; all is well again at the end. */
export async function disturb(
  fleet: Fleet,
  kinds: readonly FaultKind[],
  seconds: number,
): Promise<readonly DoneFault[]> {
  const faults: DoneFault[] = [];
  const endsAt = performance.now() + seconds * 1000;
  for (let turn = 0; performance.now() < endsAt; turn += 1) {
    await sleep(calmMs);
    const kind = kinds[turn % kinds.length] as FaultKind;
    const from = performance.now();
    await doFault(fleet, kind, Math.floor(turn / kinds.length));
    faults.push({ kind, from, until: performance.now() });
    if (kind === 'kill' || kind === 'kill worker') await sleep(Math.max(0, from + takeoverMs - performance.now()));
  }
  return faults;
}

function doFault(fleet: Fleet, kind: FaultKind, round: number): Promise<void> {
  const { store } = fleet;
  const faults: Record<FaultKind, () => Promise<void>> = {
    kill: () => killAndRestart(fleet, round % fleet.backends.length),
    'kill worker': () => loseWorker(fleet, round, 'SIGKILL'),
    'hang worker': () => loseWorker(fleet, round, 'SIGSTOP'),
    reload: () => reload(fleet),
    pause: () => store.pause(1000 + 1000 * (round % 3)),
    cut: store.cut,
    failover: store.failOver,
  };
  return faults[kind]();
}

async function killAndRestart({ kill, start }: Fleet, index: number): Promise<void> {
  await kill(index);
  await sleep(500);
  await start(index);
}

async function loseWorker(fleet: Fleet, round: number, signal: NodeJS.Signals): Promise<void> {
  const index = placeOfWorkers(fleet);
  const pids = [...fleet.workersAt(index).values()];
  const pid = pids[round % pids.length];
  if (pid === undefined) throw new Error('No worker listens.');
  process.kill(pid, signal);
  await fleet.whenWorkersAt(index, [pid]);
}

async function reload(fleet: Fleet): Promise<void> {
  const index = placeOfWorkers(fleet);
  const earlier = [...fleet.workersAt(index).values()];
  fleet.commands[index]?.process.kill('SIGHUP');
  await fleet.whenWorkersAt(index, earlier);
}

function placeOfWorkers({ workers }: Fleet): number {
  const index = workers.findIndex((count) => count > 1);
  if (index < 0) throw new Error('No process of this fleet has workers.');
  return index;
}

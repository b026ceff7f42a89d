/**
 * The program of a worker: one server among several, on a socket that the first process (`workers.ts`) has bound. It
 * starts, stops and ends by that process's word. Without the first process it has no store: it finishes its calls and
 * ends.
 */
import { url as inspectorUrl } from 'node:inspector';
import { flushCompileCache } from 'node:module';
import { dangerouslyAllowHttpIssuer, resolveConfig } from '../config/config.ts';
import { detach } from '../detached.ts';
import { codeOf } from '../http/errors.ts';
import { createWorkerStore, type WorkerStore } from '../store/workers.ts';
import { startPlaced, type RunningServer } from './server.ts';
import { createShedding, type Shedding } from './shedding.ts';
import { drainOnProcessFault, type CloseLimits } from './shutdown.ts';
import { signOfLifeMs, socketDescriptor, type FromWorker, type ToWorker } from './worker-messages.ts';

const reportMs = 100;
/** Time to close what draining leaves open, before the process exits in any case. */
const exitMarginSeconds = 5;

type Start = Extract<ToWorker, { readonly type: 'start' }>;

// A terminal and a service manager signal every process of a group; the first process tells its workers itself.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

let shedding: Shedding | undefined;
let shared: WorkerStore | undefined;
let running: { readonly server: RunningServer; readonly drainSeconds: number } | undefined;

process.on('message', (message: ToWorker) => {
  if (message.type === 'store') shared?.receive(message.frame);
  else if (message.type === 'shed') shedding?.shed(message.connections);
  else if (message.type === 'start') detach(start(message), refuse);
  else stop(message.limits);
});
process.once('disconnect', () => {
  shared?.disconnect();
  // No load balancer sends anything to a server whose first process has gone, and whose listener for operations with it.
  stop({ waitSeconds: 0 });
});

async function start({ worker, config: input, allowsHttpIssuer, store }: Start): Promise<void> {
  const config = resolveConfig({ ...input, [dangerouslyAllowHttpIssuer]: allowsHttpIssuer });
  if (store !== undefined) {
    shared = createWorkerStore((frame, onSent) => tell({ type: 'store', frame }, onSent), store);
  }
  const server = await startPlaced(config, shared === undefined ? {} : { store: shared.store }, {
    worker,
    fd: socketDescriptor,
    onServer: (listener) => void (shedding = createShedding(listener)),
  });
  running = { server, drainSeconds: config.drainSeconds };
  drainOnProcessFault(server, config.drainSeconds);
  server.bff.events.subscribe((event) => {
    if (event.type === 'process.failed') tell({ type: 'failing' });
  });
  tell({ type: 'listening' });
  reportState(server);
  // Node writes the cache only when it exits by itself, which a worker that is killed does not.
  flushCompileCache();
}

function reportState({ bff }: RunningServer): void {
  let reported = '';
  let reportedAt = -Infinity;
  let isUnread = false;
  const report = (): void => {
    const state = {
      ready: bff.ready(),
      connections: shedding?.connections() ?? 0,
      inspected: inspectorUrl() !== undefined,
    };
    const told = JSON.stringify(state);
    if (told === reported && performance.now() < reportedAt + signOfLifeMs) return;
    // A first process that stands still reads nothing, and must not find hours of it.
    if (isUnread) return;
    reported = told;
    reportedAt = performance.now();
    isUnread = true;
    tell({ type: 'state', ...state }, () => void (isUnread = false));
  };
  report();
  setInterval(report, reportMs).unref();
}

/** The first process reports it as a server alone would, so that it is told once. */
function refuse(error: unknown): void {
  tell({ type: 'refused', message: error instanceof Error ? error.message : String(error), code: codeOf(error) });
  process.disconnect();
}

function stop(limits: CloseLimits): void {
  if (running === undefined) return exit();
  const { server, drainSeconds } = running;
  setTimeout(exit, ((limits.drainSeconds ?? drainSeconds) + exitMarginSeconds) * 1000).unref();
  detach(server.close(limits).then(exit), exit);
}

function exit(): void {
  process.exit();
}

/** @param onSent by default a failure is left to `disconnect`, which follows where the first process has gone */
function tell(message: FromWorker, onSent: (error: Error | null) => void = () => undefined): void {
  if (process.connected) process.send?.(message, undefined, undefined, onSent);
  else onSent(new Error('the first process has gone'));
}

/** `sallyport start`: runs the server, alone or as the first process of several, until a signal or a fault ends it. */
import { closeSync, openSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { loadConfig } from '../config/sources.ts';
import { startServer } from '../server/server.ts';
import { drainOnProcessFault, type Shutdown } from '../server/shutdown.ts';
import { stopOnSignal } from '../server/stop-signals.ts';
import { startWorkers, workersOf, type WorkersPatience } from '../server/workers.ts';
import { fail } from './messages.ts';

/** @param patience with its workers, which a test shortens */
export async function start(file: string | undefined, patience?: WorkersPatience): Promise<void> {
  const started = Promise.withResolvers<{ readonly close: Shutdown }>();
  stopOnSignal(async (limits) => (await started.promise).close(limits), fail);
  const loaded = await loadConfig(file, process.env);
  const { config, warnings } = loaded;
  const isAlone = workersOf(config) === undefined;
  const server = isAlone ? await startServer(config) : await startWorkers(loaded, file, patience);
  for (const warning of warnings) server.log.warn(warning);
  // Node writes the cache only when it exits by itself, which a server that is killed does not.
  flushCompileCache();
  drainOnProcessFault(server, config.drainSeconds);
  started.resolve(server);
  if ('reload' in server) reloadOnSignal(server.reload);
}

/** SIGHUP asks for a new configuration, or says that the terminal has gone. */
function reloadOnSignal(reload: () => void): void {
  const hadTerminal = hasTerminal();
  process.on('SIGHUP', () => {
    if (hadTerminal && !hasTerminal()) process.kill(process.pid, 'SIGTERM');
    else reload();
  });
}

function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}

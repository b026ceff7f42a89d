/** `sallyport start`: runs the server until a signal or a process fault ends it. */
import { flushCompileCache } from 'node:module';
import { loadConfig } from '../config/sources.ts';
import { startServer, type RunningServer } from '../server/server.ts';
import { drainOnProcessFault } from '../server/shutdown.ts';
import { stopOnSignal } from '../server/stop-signals.ts';
import { fail } from './messages.ts';

export async function start(file: string | undefined): Promise<void> {
  const started = Promise.withResolvers<RunningServer>();
  stopOnSignal(async (limits) => (await started.promise).close(limits), fail);
  const { config, warnings } = await loadConfig(file, process.env);
  const server = await startServer(config);
  for (const warning of warnings) server.log.warn(warning);
  // Node writes the cache only when it exits by itself, which a server that is killed does not.
  flushCompileCache();
  drainOnProcessFault(server, config.drainSeconds);
  started.resolve(server);
}

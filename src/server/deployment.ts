/** What one configuration of a server with workers has open in the first process: the sockets that it names. */
import type { Server } from 'node:http';
import type { Config } from '../config/config.ts';
import type { LoadedConfig } from '../config/sources.ts';
import { RefusedConfig } from './fresh-config.ts';
import { createOpsServer, type Readiness } from './ops.ts';
import type { OperatorApi } from './ops-sessions.ts';
import { listenForOps } from './server.ts';
import { bindSharedSocket, type SharedSocket } from './shared-socket.ts';

export interface Deployment extends LoadedConfig {
  readonly socket: SharedSocket;
  /** The listener for operations, if there is to be one. */
  readonly ops: Server | undefined;
}

export interface DeploymentDeps {
  readonly readiness: () => Readiness;
  readonly operator: OperatorApi;
  /** Hears of faults of the listener for operations. */
  readonly onError: (error: unknown) => void;
}

/**
 * Opens what a configuration names, unless an earlier one has it open.
 * @throws if an address cannot be had; then nothing new is open
 */
export async function openDeployment(
  loaded: LoadedConfig,
  { readiness, operator, onError }: DeploymentDeps,
  earlier?: Deployment,
): Promise<Deployment> {
  const { listen } = loaded.config;
  const before = earlier?.config.listen;
  const keepsSocket = before?.host === listen.host && before.port === listen.port;
  const socket = keepsSocket && earlier !== undefined ? earlier.socket : await bindSharedSocket(listen);
  if (before?.host === listen.host && before.opsPort === listen.opsPort)
    return { ...loaded, socket, ops: earlier?.ops };
  if (listen.opsPort === undefined) return { ...loaded, socket, ops: undefined };
  const ops = createOpsServer(readiness, operator);
  try {
    await listenForOps(ops, loaded.config);
  } catch (error) {
    if (socket !== earlier?.socket) socket.close();
    throw error;
  }
  ops.on('error', onError);
  return { ...loaded, socket, ops };
}

/** Closes what is open for a deployment, but for what another one uses. */
export function closeDeployment({ socket, ops }: Deployment, kept?: Deployment): void {
  if (socket !== kept?.socket) socket.close();
  if (ops === undefined || ops === kept?.ops) return;
  ops.close();
  ops.closeAllConnections();
}

/**
 * Workers of before and after would not know of each other's refreshes and sign-outs.
 * @throws {RefusedConfig}
 */
export function refuseChangeOfStore(before: Config, after: Config): void {
  const faults: string[] = [];
  if ((before.redisUrl === undefined) !== (after.redisUrl === undefined)) {
    faults.push('redisUrl: cannot be added or removed while the server runs; restart it');
  }
  if (before.store.file !== after.store.file) {
    faults.push('store.file: cannot change while the server runs; restart it');
  }
  if (faults.length > 0) throw new RefusedConfig(faults);
}

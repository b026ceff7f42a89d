/** The program of the thread in which `fresh-config.ts` reads a configuration. */
import { parentPort, workerData } from 'node:worker_threads';
import { dangerouslyAllowHttpIssuer, ConfigError } from '../config/config.ts';
import { loadConfig } from '../config/sources.ts';
import type { ConfigReading, ConfigRequest } from './fresh-config.ts';

async function read({ file }: ConfigRequest): Promise<ConfigReading> {
  try {
    const { input, warnings } = await loadConfig(file, process.env);
    return { input, allowsHttpIssuer: input[dangerouslyAllowHttpIssuer] === true, warnings };
  } catch (error) {
    if (error instanceof ConfigError) return { faults: error.lines };
    throw error;
  }
}

parentPort?.postMessage(await read(workerData as ConfigRequest), []);

/**
 * Reads the configuration anew, in a thread of its own: a module that was imported once, such as the file in code or what
 * it imports, is never read again in the same thread.
 */
import { once } from 'node:events';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { dangerouslyAllowHttpIssuer, resolveConfig, type ConfigInput } from '../config/config.ts';
import type { LoadedConfig } from '../config/sources.ts';
import { withTimeout } from '../timeout.ts';

export interface ConfigRequest {
  readonly file: string | undefined;
}

export type ConfigReading =
  | {
      readonly input: ConfigInput;
      /** `dangerouslyAllowHttpIssuer`, whose key is a symbol and is not cloned. */
      readonly allowsHttpIssuer: boolean;
      readonly warnings: readonly string[];
    }
  | { readonly faults: readonly string[] };

/** A file in code may end its process, or wait for what never comes. */
const endedByItself: ConfigReading = { faults: ['the configuration file ends the process that reads it'] };
const readingLimitMs = 30_000;

const program = new URL(`./config-thread${extname(import.meta.url)}`, import.meta.url);

/** A configuration cannot be used. `faults`: a sentence for each. */
export class RefusedConfig extends Error {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join('\n'));
    this.name = 'RefusedConfig';
    this.faults = faults;
  }
}

/**
 * @param file as it was given with `--config`
 * @throws {RefusedConfig} with every fault
 */
export async function readConfigAnew(file: string | undefined): Promise<LoadedConfig> {
  const thread = new Worker(program, { workerData: { file } satisfies ConfigRequest });
  try {
    const reading = await withTimeout(readingOf(thread), readingLimitMs, () => {
      throw new RefusedConfig([`the configuration could not be read within ${readingLimitMs / 1000} seconds`]);
    });
    if ('faults' in reading) throw new RefusedConfig(reading.faults);
    const input = { ...reading.input, [dangerouslyAllowHttpIssuer]: reading.allowsHttpIssuer };
    return { input, config: resolveConfig(input), warnings: reading.warnings };
  } finally {
    await thread.terminate();
  }
}

async function readingOf(thread: Worker): Promise<ConfigReading> {
  const end = once(thread, 'exit').then(() => [endedByItself]);
  // An error in the thread rejects both. A message comes before the end.
  const [reading] = (await Promise.race([once(thread, 'message'), end])) as [ConfigReading];
  return reading;
}

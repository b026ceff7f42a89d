/** What `sallyport check` does with the store: writes something that nobody reads, and says what the set-up means. */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { Config } from '../config/config.ts';
import { createEvents } from '../events.ts';
import { createConfiguredStore } from '../store/configured-store.ts';
import { createFileStore } from '../store/file.ts';
import type { Store } from '../store/store.ts';

/** The outcome: what works, what to know of it, and what does not work. */
export interface StoreTrial {
  readonly fine: readonly string[];
  readonly notes: readonly string[];
  readonly faults: readonly string[];
}

const alone: StoreTrial = {
  fine: [],
  notes: [
    'there is no store beside the memory of the process: run one instance only, because several would show the provider',
    'used refresh tokens; a restart forgets sign-outs (SALLYPORT_REDIS_URL, or SALLYPORT_STORE_FILE on one machine)',
  ],
  faults: [],
};

export async function tryStore(config: Config): Promise<StoreTrial> {
  if (config.redisUrl !== undefined) return tryRedis(config, config.redisUrl);
  return config.store.file === undefined ? alone : tryFile(config.store.file);
}

async function tryRedis(config: Config, url: string): Promise<StoreTrial> {
  const events = createEvents();
  let reason = '';
  events.subscribe((event) => {
    if (event.type === 'store.failed') reason = messageOf(event.cause);
  });
  const place = `the store at ${withoutCredentials(url)}`;
  try {
    await writeTo(createConfiguredStore(config, events));
    return { fine: [`${place} can be read and written`], notes: [], faults: [] };
  } catch (error) {
    return { fine: [], notes: [], faults: [`${place} cannot be used: ${reason === '' ? messageOf(error) : reason}`] };
  }
}

/**
 * Where there is no file yet, tries another one beside it: a file that this user made could be closed to the user who runs
 * the server.
 */
async function tryFile(file: string): Promise<StoreTrial> {
  const exists = existsSync(file);
  const tried = exists ? file : `${file}.check-${process.pid}`;
  try {
    await writeTo(createFileStore(tried));
    return { fine: [`the store's file ${file} can be ${exists ? 'read and written' : 'made'}`], notes: [], faults: [] };
  } catch (error) {
    return { fine: [], notes: [], faults: [messageOf(error).replaceAll(tried, file)] };
  } finally {
    if (!exists) await rm(tried, { force: true });
  }
}

async function writeTo(store: Store): Promise<void> {
  try {
    await store.useOnce(`check:${randomUUID()}`, 1);
  } finally {
    await store.close();
  }
}

/** The password and the user's name stay out of the terminal. */
function withoutCredentials(url: string): string {
  return url.replace(/\/\/[^/@]*@/, '//');
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

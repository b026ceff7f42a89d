/** A folder with an app for each test of a file, and the part of Sallyport that serves it. */
import { readdirSync, readlinkSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import { createSpaFolder, type SpaFolderOptions } from '../../src/spa/folder.ts';

export const origin = 'https://app.example.com';
export const indexHtml =
  '<!doctype html><title>App</title><script type="module" src="/assets/index-DiwrgTda.js"></script>';
export const navigate = { headers: { 'Sec-Fetch-Mode': 'navigate', Accept: 'text/html,*/*;q=0.8' } };

export interface SpaFolder {
  /** Where it is, for the test that runs. */
  readonly folder: string;
  /** Writes a file. */
  readonly put: (path: string, content: string | Uint8Array) => Promise<void>;
  /** The files of it that this process holds open (Linux). */
  readonly openFiles: () => string[];
  /** Serves it: answers requests by path. */
  readonly spa: (options?: Partial<SpaFolderOptions>) => (path: string, init?: RequestInit) => Promise<Response>;
}

/** Called once at the top of a test file: each of its tests gets a new folder with an `index.html`. */
export function useSpaFolder(): SpaFolder {
  let folder = '';

  async function put(path: string, content: string | Uint8Array): Promise<void> {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sallyport-spa-'));
    await put('index.html', indexHtml);
  });

  afterEach(() => rm(folder, { recursive: true, force: true }));

  return {
    get folder() {
      return folder;
    },
    put,
    openFiles() {
      return readdirSync('/proc/self/fd').flatMap((fd) => {
        try {
          const target = readlinkSync(`/proc/self/fd/${fd}`);
          return target.startsWith(folder) ? [target] : [];
        } catch {
          return []; // closed since it was listed
        }
      });
    },
    spa(options = {}) {
      const { fetch } = createSpaFolder({ folder, origin, ...options });
      return (path, init) => fetch(new Request(origin + path, init));
    },
  };
}

/** The app of test/browser/react-app, bundled with a major version of React, for the browser or for a server. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { onTestFinished, vi } from 'vitest';
import { build, type InlineConfig, type Rolldown } from 'vite';
import { root } from './markdown.ts';

export type ReactMajor = '18' | '19';

const app = join(root, 'test/browser/react-app');

/** @returns one script */
export function bundleReactApp(major: ReactMajor, entry: 'main' | 'server'): Promise<string> {
  return bundle(major, join(app, `${entry}.tsx`), entry === 'server');
}

/** Any app in React, from a file inside the repository. @returns one script */
export async function bundle(major: ReactMajor, entry: string, isServer = false): Promise<string> {
  const built = (await build(settingsOf(major, entry, isServer))) as Rolldown.RolldownOutput;
  const [chunk, ...others] = built.output;
  if (others.length > 0)
    throw new Error(`the app is more than a script: ${others.map(({ fileName }) => fileName).join()}`);
  return chunk.code;
}

function settingsOf(major: ReactMajor, entry: string, isServer: boolean): InlineConfig {
  const sources = [
    { find: 'sallyport/browser', replacement: join(root, 'src/browser/index.ts') },
    { find: 'sallyport/react', replacement: join(root, 'src/browser/react.tsx') },
  ];
  const older = [
    { find: /^react(?=\/|$)/, replacement: 'react-18' },
    { find: /^react-dom(?=\/|$)/, replacement: 'react-dom-18' },
  ];
  return {
    root: app,
    configFile: false,
    logLevel: 'error',
    // React warns of faults such as an unstable store, or markup that differs from the server's, in development only.
    define: { 'process.env.NODE_ENV': '"development"' },
    resolve: { alias: major === '18' ? [...sources, ...older] : sources },
    ...(isServer ? { ssr: { noExternal: true } } : {}),
    build: { write: false, minify: false, ssr: isServer, target: 'es2024', rolldownOptions: { input: entry } },
  };
}

export interface ServerApp {
  readonly render: () => string;
  /** Whatever was asked of the network or of other tabs, by the loading of the modules too. */
  readonly asked: readonly unknown[];
}

/** The app in this process, which has no window and no document. */
export async function loadServerApp(major: ReactMajor): Promise<ServerApp> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-react-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'server.mjs');
  await writeFile(file, await bundleReactApp(major, 'server'));
  const asked: unknown[] = [];
  for (const name of ['fetch', 'EventSource', 'BroadcastChannel', 'WebSocket']) {
    vi.stubGlobal(name, function ask(...args: unknown[]) {
      asked.push([name, ...args]);
      throw new Error(`${name} on a server`);
    });
  }
  onTestFinished(() => void vi.unstubAllGlobals());
  const { render } = (await import(pathToFileURL(file).href)) as Pick<ServerApp, 'render'>;
  return { render, asked };
}

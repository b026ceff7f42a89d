/** An app in a folder of its own, in Vite's dev server with Sallyport's plugin. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createLogger, createServer, preview, type InlineConfig, type PreviewServer, type ViteDevServer } from 'vite';
import { onTestFinished, vi } from 'vitest';
import { sallyport, type SallyportPluginOptions } from '../../src/vite/plugin.ts';
import { root } from './markdown.ts';

export interface ViteApp {
  readonly folder: string;
  readonly write: (file: string, content: string) => Promise<void>;
  /** What Vite wrote to its terminal. */
  readonly lines: string[];
  /** As `npm run dev` does; in middleware mode it listens nowhere. */
  readonly start: (options?: SallyportPluginOptions, more?: InlineConfig) => Promise<ViteDevServer>;
  readonly preview: (options?: SallyportPluginOptions, more?: InlineConfig) => Promise<PreviewServer>;
}

const page = {
  'index.html': '<!doctype html><title>App</title><p id="app"></p><script type="module" src="/main.js"></script>',
  'main.js': `document.querySelector('#app').textContent = 'here';`,
};

/** Ends with the test. */
export async function viteApp(files: Readonly<Record<string, string>> = page): Promise<ViteApp> {
  // In Vitest the plugin does nothing: here it is what is tested.
  vi.stubEnv('VITEST', undefined);
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-vite-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  const lines: string[] = [];
  const log = (line: string) => void lines.push(line);
  const customLogger = { ...createLogger('info'), info: log, warn: log, error: log };

  async function write(file: string, content: string): Promise<void> {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), content);
  }
  for (const [file, content] of Object.entries(files)) await write(file, content);

  function configOf(options: SallyportPluginOptions, { server, plugins = [], ...more }: InlineConfig): InlineConfig {
    return {
      root: folder,
      configFile: false,
      customLogger,
      cacheDir: join(folder, '.vite'),
      server: { host: '127.0.0.1', ...server },
      plugins: [sallyport(options), ...plugins],
      ...more,
    };
  }

  return {
    folder,
    write,
    lines,
    async start(options = {}, more = {}) {
      const vite = await createServer(configOf(options, more));
      onTestFinished(() => vite.close());
      return vite.config.server.middlewareMode ? vite : vite.listen();
    },
    async preview(options = {}, more = {}) {
      const vite = await preview({ preview: { host: '127.0.0.1' }, ...configOf(options, more) });
      onTestFinished(() => vite.close());
      return vite;
    },
  };
}

/** Where it listens. */
export function portOf({ httpServer }: Pick<ViteDevServer | PreviewServer, 'httpServer'>): number {
  const address = httpServer?.address();
  if (typeof address !== 'object' || address === null) throw new Error('Vite does not listen.');
  return address.port;
}

/** An app that can be installed: the worker and the page of docs/browser.md as they stand there, built by Vite. */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build, type InlineConfig } from 'vite';
import { codeBlocks, root } from './markdown.ts';

const index = `<!doctype html><title>App</title><p id="person">…</p>
<button id="sign-in">Sign in</button><button id="sign-out">Sign out</button>
<script type="module" src="/main.js"></script>`;

const main = `
import { login, logout } from 'sallyport/browser';
import { followPerson } from './person.ts';
followPerson((name, isOnline) => {
  document.querySelector('#person').textContent = (name ?? 'nobody') + (isOnline ? '' : ', offline');
});
document.querySelector('#sign-in').onclick = () => login();
document.querySelector('#sign-out').onclick = () => logout({ returnTo: '/bye' });
navigator.serviceWorker.register('/service-worker.js');
`;

/** @param changeWorker for tests of what the documented one is for */
export async function buildInstalledApp(changeWorker = (code: string) => code): Promise<Record<string, string>> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-installed-'));
  try {
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
    await mkdir(join(folder, 'dist'));
    await writeFile(join(folder, 'index.html'), index);
    await writeFile(join(folder, 'main.js'), main);
    await writeFile(join(folder, 'person.ts'), documented('person.ts'));
    await writeFile(join(folder, 'service-worker.ts'), changeWorker(documented('service-worker.ts')));
    const app = await filesOf({
      root: folder,
      resolve: { alias: { 'sallyport/browser': join(root, 'src/browser/index.ts') } },
    });
    const worker = await filesOf({
      root: folder,
      build: {
        rolldownOptions: { input: join(folder, 'service-worker.ts'), output: { entryFileNames: 'service-worker.js' } },
      },
    });
    return { ...app, 'service-worker.js': injectManifest(worker['service-worker.js'] ?? '', app) };
  } finally {
    await rm(folder, { recursive: true });
  }
}

function documented(file: string): string {
  const block = codeBlocks('docs/browser.md').find(({ code }) => code.startsWith(`// ${file}\n`));
  if (block === undefined) throw new Error(`docs/browser.md has no ${file}`);
  return block.code;
}

async function filesOf(config: InlineConfig): Promise<Record<string, string>> {
  const built = await build({
    configFile: false,
    logLevel: 'silent',
    // Else Workbox would write to the console what it does.
    define: { 'process.env.NODE_ENV': '"production"' },
    ...config,
    build: { write: false, ...config.build },
  });
  const { output } = built as Extract<typeof built, { output: unknown }>;
  return Object.fromEntries(output.map((file) => [file.fileName, 'code' in file ? file.code : String(file.source)]));
}

/** What Workbox's `injectManifest` does. */
function injectManifest(worker: string, files: Readonly<Record<string, string>>): string {
  const manifest = Object.entries(files).map(([file, content]) => ({
    url: `/${file}`,
    revision: createHash('md5').update(content).digest('hex'),
  }));
  if (!worker.includes('self.__WB_MANIFEST')) throw new Error('the worker takes no list');
  return worker.replace('self.__WB_MANIFEST', JSON.stringify(manifest));
}

/**
 * The package as npm installs it: a configuration in code finds it wherever the file lies, an app for browsers can
 * import its module, and a Node that is too old is told so.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runSallyport } from '../support/command-line.ts';
import { fileInTypeScript, folderWith, started } from '../support/configuration-folder.ts';
import { installPackage, type InstalledPackage } from '../support/installed-package.ts';
import { root } from '../support/markdown.ts';

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string;
  engines: { node: string };
};
const page = { 'dist/index.html': '<!doctype html>' };

let installed: InstalledPackage;

beforeAll(() => {
  installed = installPackage();
});

afterAll(() => installed.remove());

const start = async (cwd: string) => started({ program: process.execPath, args: [installed.entry, 'start'], cwd });

describe("a file that imports 'sallyport' loads", () => {
  test('beside an app without packages', async () => {
    const { origin, code } = await fileInTypeScript();
    expect(await start(await folderWith({ 'sallyport.config.ts': code, ...page }))).toMatchObject({ origin });
  });

  test('beside another sallyport, whose symbols and functions are not the ones that run', async () => {
    const { origin, code } = await fileInTypeScript();
    const folder = await folderWith({
      'sallyport.config.ts': code,
      ...page,
      'node_modules/sallyport/package.json': '{"name":"sallyport","type":"module","exports":"./index.js"}',
      'node_modules/sallyport/index.js':
        "export const dangerouslyAllowHttpIssuer = Symbol('another'); export const defineConfig = () => ({});",
    });
    expect(await start(folder)).toMatchObject({ origin });
  });

  test('in a module that the file imports', async () => {
    const { origin, code } = await fileInTypeScript();
    const file = "export { default } from './shared.ts';";
    const folder = await folderWith({ 'shared.ts': code, 'sallyport.config.ts': file, ...page });
    expect(await start(folder)).toMatchObject({ origin });
  });

  test('in CommonJS', async () => {
    const { origin, code } = await fileInTypeScript();
    const commonJs = code
      .replace(
        "import { dangerouslyAllowHttpIssuer, defineConfig } from 'sallyport'",
        "const { dangerouslyAllowHttpIssuer, defineConfig } = require('sallyport')",
      )
      .replace('export default', 'module.exports =');
    const folder = await folderWith({ 'package.json': '{}', 'sallyport.config.js': commonJs, ...page });
    expect(await start(folder)).toMatchObject({ origin });
  });
});

describe("'sallyport/browser'", () => {
  const app = `import { createSallyport, session, type Sallyport, type SessionView } from 'sallyport/browser';
    export { reconnecting } from 'sallyport/browser/reconnecting';
    export const instance: Sallyport = createSallyport({ basePath: '/app/bff' });
    export async function nameOf(): Promise<unknown> {
      const view: SessionView = await session();
      return view.authenticated ? view.user['name'] : view.reason;
    }`;

  test.each(['bundler', 'nodenext'])('has types, with the module resolution %s', async (moduleResolution) => {
    const folder = join(installed.folder, moduleResolution);
    const compilerOptions = {
      strict: true,
      noEmit: true,
      target: 'es2022',
      lib: ['es2022', 'dom'],
      types: [],
      module: moduleResolution === 'bundler' ? 'esnext' : moduleResolution,
      moduleResolution,
    };
    mkdirSync(folder);
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['app.ts'] }));
    writeFileSync(join(folder, 'app.ts'), app);
    expect(typeErrors(folder)).toBe('');
    writeFileSync(join(folder, 'app.ts'), app.replace("basePath: '/app/bff'", 'basePath: 7'));
    expect(typeErrors(folder)).toContain("app.ts(3,58): error TS2322: Type 'number' is not assignable");
  });

  test('can be bundled', async () => {
    writeFileSync(join(installed.folder, 'app.ts'), app);
    const input = join(installed.folder, 'app.ts');
    const built = await build({
      configFile: false,
      logLevel: 'silent',
      root: installed.folder,
      build: { write: false, rolldownOptions: { input, preserveEntrySignatures: 'strict' } },
    });
    const { output } = built as Extract<typeof built, { output: unknown }>;
    expect(output[0].code).toContain('sallyport-events:');
  });

  test('can be imported on a server, where it does nothing', () => {
    const code = "import { current } from 'sallyport/browser'; console.log(current());";
    const options = { cwd: installed.folder, encoding: 'utf8' } as const;
    expect(execFileSync(process.execPath, ['--input-type=module', '-e', code], options)).toBe('undefined\n');
  });
});

describe.each([
  ['18', 'types-react-18', 'react-18'],
  ['19', '@types/react', 'react'],
])("'sallyport/react' with React %s", (major, types, react) => {
  const app = `import { SignedIn, useAuth } from 'sallyport/react';
    declare module 'sallyport/react' {
      interface User { readonly roles: readonly string[] }
    }
    export const roles = <SignedIn>{({ user }) => user.roles.join()}</SignedIn>;
    export const useName = () => useAuth().user?.profile.name;`;

  beforeAll(() => {
    const packages = join(installed.folder, 'node_modules');
    mkdirSync(join(packages, '@types'), { recursive: true });
    for (const [name, own] of [
      ['react', react],
      ['@types/react', types],
    ] as const) {
      rmSync(join(packages, name), { force: true });
      symlinkSync(join(root, 'node_modules', own), join(packages, name));
    }
  });

  test('has types, those of claims that the app declares too, and none of tokens', () => {
    const folder = join(installed.folder, `react-${major}`);
    const compilerOptions = {
      strict: true,
      noEmit: true,
      target: 'es2022',
      lib: ['es2022', 'dom'],
      types: [],
      jsx: 'react-jsx',
      module: 'esnext',
      moduleResolution: 'bundler',
    };
    mkdirSync(folder);
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['app.tsx'] }));
    writeFileSync(join(folder, 'app.tsx'), app);
    expect(typeErrors(folder)).toBe('');
    writeFileSync(join(folder, 'app.tsx'), app.replace('profile.name', 'access_token'));
    expect(typeErrors(folder)).toContain("Property 'access_token' does not exist on type 'UserWithoutTokens'");
  });

  test('can be imported on a server', () => {
    const code = "import { useSession } from 'sallyport/react'; console.log(typeof useSession);";
    const options = { cwd: installed.folder, encoding: 'utf8' } as const;
    expect(execFileSync(process.execPath, ['--input-type=module', '-e', code], options)).toBe('function\n');
  });
});

test("'sallyport/vite' says which package its demo lacks", () => {
  const vite = pathToFileURL(join(root, 'node_modules/vite/dist/node/index.js')).href;
  const code = `import { createServer } from '${vite}';
    import { sallyport } from 'sallyport/vite';
    const options = { configFile: false, logLevel: 'silent', plugins: [sallyport({ demo: true })] };
    // Vite watches on after a start that failed, and leaves the end to its command line.
    await createServer(options).catch((error) => console.log(error.message));
    process.exit();`;
  const env = { PATH: process.env['PATH'] };
  const options = { cwd: installed.folder, encoding: 'utf8', env } as const;
  expect(execFileSync(process.execPath, ['--input-type=module', '-e', code], options)).toBe(
    'sallyport({ demo: true }) runs the package oidc-provider, which is not installed: npm install --save-dev oidc-provider\n',
  );
});

function typeErrors(folder: string): string {
  const compiler = join(root, 'node_modules/.bin/tsc');
  return spawnSync(compiler, ['-p', folder, '--pretty', 'false'], { encoding: 'utf8' }).stdout;
}

/** A module that is loaded ahead and calls this Node an older one. */
function pretendsToBe(version: string): string {
  const code = `for (const [key, value] of [['version', 'v${version}'], ['versions', { node: '${version}' }]]) {
    Object.defineProperty(process, key, { value });
  }`;
  return `--import=data:text/javascript,${encodeURIComponent(code)}`;
}

function isTooOld(node: string): boolean {
  if (!existsSync(node)) return false;
  const [major = 0] = /\d+/.exec(execFileSync(node, ['--version'], { encoding: 'utf8' }))?.map(Number) ?? [];
  return major < 22;
}

describe('a Node that is too old', () => {
  const told = /^Sallyport needs Node 22\.19 or newer, and this is v[\d.]+: https:\/\/nodejs\.org\n$/;

  test.each(['18.20.8', '20.20.2', '22.18.9', '22.0.0', '21.99.0'])('as %s is told which one is needed', (version) => {
    const env = { NODE_OPTIONS: pretendsToBe(version) };
    for (const args of [['start'], ['--version'], []]) {
      const { exitCode, output, errors } = runSallyport(args, { entry: installed.entry, env });
      expect(errors).toMatch(told);
      expect([exitCode, output]).toEqual([1, '']);
    }
  });

  test.each(['22.19.0', '22.20.1', '23.0.0', '24.1.0', '100.0.0'])('is not %s', (version) => {
    const { output } = runSallyport(['--version'], {
      entry: installed.entry,
      env: { NODE_OPTIONS: pretendsToBe(version) },
    });
    expect(output).toBe(`${manifest.version}\n`);
  });

  test('can read the entry: it imports no name that older ones lack', () => {
    const imports = [...readFileSync(installed.entry, 'utf8').matchAll(/^import .*$/gm)].map(([line]) => line);
    expect(imports).toEqual([
      "import { readFileSync } from 'node:fs';",
      "import * as nodeModule from 'node:module';",
      "import { fileURLToPath } from 'node:url';",
    ]);
    // The proof, where this machine has one.
    for (const node of ['/usr/bin/node', '/usr/local/bin/node'].filter(isTooOld)) {
      expect(runSallyport(['start'], { entry: installed.entry, node })).toMatchObject({
        exitCode: 1,
        errors: expect.stringMatching(told),
      });
    }
  });

  test('is told of the Node that package.json names', () => {
    expect(manifest.engines.node).toMatch(/^>=\d+\.\d+$/);
  });
});

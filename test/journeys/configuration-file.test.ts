/** The configuration file: where it may lie, what its paths are relative to, and how a broken one is told. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { cliEntry, runSallyport } from '../support/command-line.ts';
import { fileInTypeScript, folderWith, secrets, started } from '../support/configuration-folder.ts';
import { freePort } from '../support/listener.ts';
import { root } from '../support/markdown.ts';

const page = { 'dist/index.html': '<!doctype html>' };

describe("a file that imports 'sallyport' loads in a clone", () => {
  test('by npm run serve, beside an app without packages', async () => {
    const { origin, code } = await fileInTypeScript();
    const folder = await folderWith({ 'sallyport.config.ts': code, ...page });
    const args = ['run', '--silent', 'serve', '--', '--config', join(folder, 'sallyport.config.ts')];
    expect(await started({ program: 'npm', args, cwd: root })).toMatchObject({ origin });
  });

  test('found by its name in the working directory', async () => {
    const { origin, code } = await fileInTypeScript();
    const cwd = await folderWith({ 'sallyport.config.ts': code, ...page });
    expect(await started({ program: process.execPath, args: [cliEntry, 'start'], cwd })).toMatchObject({ origin });
  });
});

describe('paths are relative to', () => {
  const settings = { issuer: 'http://localhost:9', client: { id: 'my-app' } };

  test('the file, where they stand in it', async () => {
    const origin = `http://localhost:${await freePort()}`;
    const config = { ...settings, origin, spa: { folder: 'dist' } };
    const folder = await folderWith({
      'conf/sallyport.config.json': JSON.stringify(config),
      'conf/dist/index.html': '',
    });
    const args = [cliEntry, 'start', '--config', 'conf/sallyport.config.json'];
    expect(await started({ program: process.execPath, args, cwd: folder })).toMatchObject({ origin });
  });

  test('the working directory, where they stand in a variable', async () => {
    const origin = `http://localhost:${await freePort()}`;
    const file = JSON.stringify({ ...settings, origin });
    const folder = await folderWith({ 'conf/sallyport.config.json': file, ...page });
    const args = [cliEntry, 'start', '--config', 'conf/sallyport.config.json'];
    const env = { ...secrets, SALLYPORT_SPA: 'dist' };
    expect(await started({ program: process.execPath, args, cwd: folder, env })).toMatchObject({ origin });
  });
});

const broken: ReadonlyArray<readonly [story: string, file: string, content: string, told: RegExp]> = [
  [
    'syntax in TypeScript',
    'sallyport.config.ts',
    "export default {\n  origin: 'x'\n  issuer: 'y',\n};",
    /sallyport\.config\.ts:3: SyntaxError: Expected ','/,
  ],
  [
    'syntax in JavaScript',
    'sallyport.config.js',
    "export default {\n  origin: 'x'\n  issuer: 'y',\n};",
    /sallyport\.config\.js:3: SyntaxError: Unexpected identifier/,
  ],
  [
    'an enum, which Node does not compile',
    'sallyport.config.ts',
    '\nenum Colour { red }\nexport default {};',
    /sallyport\.config\.ts:2: SyntaxError: TypeScript enum/,
  ],
  [
    'an import of what does not exist in sallyport',
    'sallyport.config.ts',
    "import { defineConfg } from 'sallyport';\nexport default {};",
    /sallyport\.config\.ts:1: SyntaxError: .*defineConfg/,
  ],
  [
    'an import of a file that is not there',
    'sallyport.config.ts',
    "import './nowhere.ts';\nexport default {};",
    /sallyport\.config\.ts: Error: Cannot find module .*nowhere\.ts/,
  ],
  [
    'an error while it runs',
    'sallyport.config.ts',
    'export default {\n  origin: process.env.NOT_SET.trim(),\n};',
    /sallyport\.config\.ts:2: TypeError: Cannot read properties of undefined/,
  ],
  [
    'an error in JSON',
    'sallyport.config.json',
    '{\n  "origin": "https://app.example.com"\n  "issuer": "x"\n}',
    /sallyport\.config\.json" is not JSON: Expected .* \(line 3, column 3\)/,
  ],
];

describe('a broken file is named, with the line:', () => {
  test.each(broken)('%s', async (_story, file, content, told) => {
    const cwd = await folderWith({ 'package.json': '{"type":"module"}', [file]: content });
    const { exitCode, errors } = runSallyport(['start'], { cwd });
    expect(errors).toMatch(/^The configuration has a fault:\n/);
    expect(errors.split('\n')[1]).toMatch(told);
    expect(errors.trimEnd().split('\n')).toHaveLength(2);
    expect(exitCode).toBe(1);
  });

  test('also where it is a module that the file imports', async () => {
    const cwd = await folderWith({
      'package.json': '{"type":"module"}',
      'sallyport.config.ts': "import './more.js';\nexport default {};",
      'more.js': '\n\nexport const x = ;',
    });
    expect(runSallyport(['start'], { cwd }).errors).toMatch(/more\.js:3: SyntaxError/);
  });

  test('and no text of it is shown, for it may be a secret', async () => {
    const cwd = await folderWith({
      'sallyport.config.json': '{"secrets": ["canary-canary-canary", canary]}',
      'thrown.mjs': 'export default JSON.parse(\'{"secret": canary-canary}\');',
    });
    expect(runSallyport(['start'], { cwd }).errors).not.toContain('canary');
    const thrown = runSallyport(['start', '--config', 'thrown.mjs'], { cwd }).errors;
    expect(thrown).toMatch(/thrown\.mjs:1: SyntaxError/);
    expect(thrown).not.toContain('canary');
  });
});

/**
 * The types in what docs/frameworks.md shows for Vue, Svelte and Angular, their templates included, by the frameworks' own
 * checkers. (test/units/docs-frameworks.test.ts compiles the rest, without hundreds of packages.)
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished, expect, test } from 'vitest';
import { documentedFiles, writeDocumentedFiles, type DocumentedFile } from '../support/documented-app.ts';

const packages = join(import.meta.dirname, 'node_modules');

interface Checker {
  readonly program: string;
  readonly options: readonly string[];
  readonly settings?: object;
  /** A fault in a template, which only this checker can see. */
  readonly fault: readonly [file: string, from: string, to: string];
}

const checkers: Readonly<Record<string, Checker>> = {
  vue: {
    program: 'vue-tsc/bin/vue-tsc.js',
    options: ['--project', 'tsconfig.json'],
    fault: ['account.vue', "session.user['name']", 'session.loginUr'],
  },
  svelte: {
    program: 'svelte-check/bin/svelte-check',
    options: ['--tsconfig', './tsconfig.json', '--fail-on-warnings', '--output', 'human'],
    fault: ['account.svelte', "session.current.user['name']", 'session.current.loginUr'],
  },
  angular: {
    program: '@angular/compiler-cli/bundles/src/bin/ngc.js',
    options: ['--project', 'tsconfig.json'],
    settings: {
      compilerOptions: { experimentalDecorators: true, useDefineForClassFields: false },
      angularCompilerOptions: { strictTemplates: true, strictInjectionParameters: true },
    },
    fault: ['account.ts', "view.user['name']", 'view.loginUr'],
  },
};

function check(
  name: string,
  files: readonly DocumentedFile[],
): { readonly status: number | null; readonly said: string } {
  const { program, options, settings = {} } = checkers[name] as Checker;
  // Inside this folder, so that the frameworks resolve.
  const folder = mkdtempSync(join(import.meta.dirname, '.docs-code-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeDocumentedFiles(folder, files);
  const { compilerOptions, ...others } = { compilerOptions: {}, ...settings };
  const common = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    isolatedModules: true,
    types: [],
    target: 'es2022',
    module: 'esnext',
    moduleResolution: 'bundler',
    lib: ['es2024', 'dom', 'dom.iterable'],
    allowImportingTsExtensions: true,
    paths: { 'sallyport/browser': ['../../../src/browser/index.ts'] },
  };
  const config = {
    compilerOptions: { ...common, ...compilerOptions },
    include: [],
    files: files.map(({ path }) => path),
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ ...config, ...others }));
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(packages, program), ...options], {
    cwd: folder,
    encoding: 'utf8',
  });
  return { status, said: stdout + stderr };
}

test.each(Object.entries(checkers))('%s', { timeout: 120_000 }, (name, { fault: [file, from, to] }) => {
  const files = documentedFiles().filter(({ path }) => path.startsWith(`${name}/`));
  expect(files.length).toBeGreaterThan(1);
  expect(check(name, files)).toMatchObject({ status: 0 });

  const faulty = files.map((one) =>
    one.path.endsWith(`/${file}`) ? Object.assign({}, one, { code: one.code.replace(from, to) }) : one,
  );
  const { status, said } = check(name, faulty);
  expect(status).not.toBe(0);
  expect(said).toMatch(/'loginUr' does not exist/);
});

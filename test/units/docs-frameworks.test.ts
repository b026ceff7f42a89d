/**
 * What docs/frameworks.md shows compiles: TypeScript against the frameworks' own types, components with the frameworks'
 * compilers. The types in the templates of Vue and Svelte, and Angular, need packages of their own: test/frameworks.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compile as compileSvelte } from 'svelte/compiler';
import { onTestFinished, expect, test } from 'vitest';
import { compileScript, parse } from 'vue/compiler-sfc';
import { documentedFiles, writeDocumentedFiles, type DocumentedFile } from '../support/documented-app.ts';
import { root } from '../support/markdown.ts';

const files = documentedFiles();
const inLanguage = (language: string) => files.filter(({ path }) => path.endsWith(`.${language}`));

/** @returns what the compiler says, with the place in the documentation */
function typeErrors(all: readonly DocumentedFile[]): string[] {
  // Inside the repository, so that packages resolve; a dot keeps other tools out.
  const folder = mkdtempSync(join(root, 'test/.docs-code-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeDocumentedFiles(folder, all);
  const compilerOptions = {
    lib: ['es2024', 'dom', 'dom.iterable'],
    jsx: 'react-jsx',
    types: [],
    paths: {
      'sallyport/browser': ['../../src/browser/index.ts'],
      'sallyport/react': ['../../src/browser/react.tsx'],
    },
  };
  const settings = { extends: '../../tsconfig.json', compilerOptions, include: [], files: all.map(({ path }) => path) };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(settings));
  const { stdout } = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', folder, '--pretty', 'false'], {
    encoding: 'utf8',
    cwd: folder,
  });
  return stdout
    .split('\n')
    .filter((line) => line.includes('error TS'))
    .map((line) => `${all.find(({ path }) => line.startsWith(path))?.place}: ${line}`);
}

test('every section shows code', () => {
  const sections = new Set(files.map(({ section }) => section));
  for (const name of ['React', 'TanStack Query', 'TanStack Router', 'Vue', 'Svelte', 'Angular']) {
    expect(sections).toContain(name);
  }
  expect(new Set(files.map(({ path }) => path)).size).toBe(files.length);
});

test('TypeScript compiles against the types of the frameworks', { timeout: 120_000 }, () => {
  const others = files.filter(({ section }) => section !== 'Angular');
  expect(typeErrors(others.filter(({ path }) => /\.tsx?$/.test(path)))).toEqual([]);
});

test('a fault would be seen, and where', { timeout: 120_000 }, () => {
  const [first] = inLanguage('tsx');
  const faulty = { ...first, code: first?.code.replace('user.name', 'user.nam()') } as DocumentedFile;
  const errors = typeErrors([faulty]);
  expect(errors).toHaveLength(1);
  expect(errors[0]).toMatch(/^docs\/frameworks\.md:\d+: react\/.* error TS/);
});

test.each(inLanguage('vue'))('Vue takes $path', ({ code, path }) => {
  const { descriptor, errors } = parse(code, { filename: path });
  expect(errors).toEqual([]);
  const script = compileScript(descriptor, { id: path, inlineTemplate: true });
  expect(script.content).toContain('useSession()');
  expect(script.warnings ?? []).toEqual([]);
});

test.each(inLanguage('svelte'))('Svelte takes $path', ({ code, path }) => {
  const { js, warnings } = compileSvelte(code, { filename: path });
  expect(js.code).toContain('session.current');
  expect(warnings).toEqual([]);
});

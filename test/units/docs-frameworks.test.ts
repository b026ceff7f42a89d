/**
 * What docs/frameworks.md shows compiles: TypeScript against the frameworks' own types, components with the frameworks'
 * compilers. The types in the templates of Vue and Svelte, and Angular, need packages of their own: test/frameworks.
 */
import { compile as compileSvelte } from 'svelte/compiler';
import { expect, test } from 'vitest';
import { compileScript, parse } from 'vue/compiler-sfc';
import { compilerErrors, forBrowsers } from '../support/documentation-compiler.ts';
import { documentedFiles, writeDocumentedFiles, type DocumentedFile } from '../support/documented-app.ts';

const files = documentedFiles();
const inLanguage = (language: string) => files.filter(({ path }) => path.endsWith(`.${language}`));

/** @returns what the compiler says, with the place in the documentation */
function typeErrors(all: readonly DocumentedFile[]): string[] {
  const write = (folder: string) => {
    writeDocumentedFiles(folder, all);
    return all.map(({ path }) => path);
  };
  return compilerErrors(write, forBrowsers).map(
    (line) => `${all.find(({ path }) => line.startsWith(path))?.place}: ${line}`,
  );
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

/**
 * The code blocks of the documentation, and the examples in the comments of the sources, work: TypeScript and JavaScript
 * are compiled against the sources, shell is parsed, JSON is read and, where it is a configuration, validated. A comment
 * `<!-- context: … -->` before a block holds what the reader has by then, such as imports of an earlier block.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseDocument } from 'yaml';
import { resolveConfig, type ConfigInput } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/sources.ts';
import { compilerErrors, forBrowsers } from '../support/documentation-compiler.ts';
import { nginxFaults } from '../support/nginx.ts';
import { tutorialFile } from '../support/tutorial.ts';
import { codeBlocks, commentExamples, documentationPages, root, type CodeBlock } from '../support/markdown.ts';

const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((path) =>
  /\.tsx?$/.test(path),
);
const blocks = [
  ...documentationPages().flatMap((page) => codeBlocks(page)),
  ...sources.flatMap((path) => commentExamples(`src/${path}`)),
];
const inLanguage = (...languages: readonly string[]) => blocks.filter(({ language }) => languages.includes(language));
const secret = randomBytes(32).toString('base64url');
const languages = 'ts tsx js vue svelte json sh ini dockerfile mermaid nginx yaml';
const known = new Set(languages.split(' '));

test('every block names its language, and one that this test knows', () => {
  expect(blocks.filter(({ language }) => !known.has(language)).map(({ place }) => place)).toEqual([]);
});

test('TypeScript and JavaScript compile against the sources', { timeout: 120_000 }, () => {
  const typed = inLanguage('json').filter(({ type }) => type !== '');
  // docs/frameworks.md and the tutorial have tests of their own: their blocks are files that import each other.
  const code = inLanguage('ts', 'tsx', 'js').filter(
    (block) => !block.place.startsWith('docs/frameworks.md') && tutorialFile(block) === undefined,
  );
  const all = [...code, ...typed];
  expect(compile(all.filter((block) => !isForBrowsers(block)))).toEqual([]);
  expect(compile(all.filter(isForBrowsers), forBrowsers)).toEqual([]);
});

function isForBrowsers({ place, language, context, code }: CodeBlock): boolean {
  if (/^(?:spa-example|src\/browser)\//.test(place) || place.startsWith('docs/browser.md')) return language !== 'json';
  return language === 'js' || language === 'tsx' || /'sallyport\/(?:browser|react)\b/.test(`${context}${code}`);
}

/** What the compiler is to see of a block, a module in any case. */
function sourceOf({ language, type, code }: CodeBlock): string {
  if (language !== 'json') return `${code}\nexport {};\n`;
  return `import type { ${type} } from 'sallyport'; export const value: ${type} = ${code};`;
}

/** @returns what the compiler says, with the page and line of the block */
function compile(examples: readonly CodeBlock[], options: object = {}): string[] {
  const write = (folder: string) =>
    examples.map((block, index) => {
      const name = `${index}.${block.language === 'tsx' ? 'tsx' : 'ts'}`;
      // In one line, so that the compiler's lines are the block's.
      writeFileSync(join(folder, name), `${block.context.replaceAll('\n', ' ')}\n${sourceOf(block)}`);
      return name;
    });
  return compilerErrors(write, { noUnusedLocals: false, noUnusedParameters: false, ...options }).map((line) =>
    line.replace(/^(\d+)\.tsx?\((\d+),\d+\)/, (_, index: string) => examples[Number(index)]?.place ?? ''),
  );
}

test('a block that does not compile would be seen, and where', { timeout: 120_000 }, () => {
  const wrong = { language: 'ts', context: '', type: '', place: 'page.md:7' };
  const errors = compile([
    { ...wrong, code: 'export const word = 1;\nexport const text: string = word;\n' },
    { ...wrong, code: 'export const fine = 1;\n' },
  ]);
  expect(errors).toHaveLength(1);
  expect(errors[0]).toMatch(/^page\.md:7: error TS/);
});

test.each(inLanguage('yaml'))('the YAML block $place can be parsed', ({ code }) => {
  expect(parseDocument(code, { strict: true }).errors).toEqual([]);
});

test.each(inLanguage('sh'))('the shell block $place can be parsed', ({ code }) => {
  const { status, stderr } = spawnSync('bash', ['-n'], { input: code, encoding: 'utf8' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});

test.each(inLanguage('json'))('the JSON block $place can be read, and used if it is a configuration', ({ code }) => {
  const value = JSON.parse(code) as Partial<ConfigInput>;
  if (!('issuer' in value)) return;
  const client = { secret, ...value.client };
  expect(() => resolveConfig({ secrets: [secret], ...value, client } as ConfigInput)).not.toThrow();
});

test.each(inLanguage('ini'))('the settings $place are valid', async ({ code }) => {
  const given = Object.fromEntries(code.trim().split('\n').map(setting));
  const { warnings } = await loadConfig(undefined, {
    SALLYPORT_ORIGIN: 'https://app.example.com',
    SALLYPORT_CLIENT_ID: 'my-app',
    SALLYPORT_CLIENT_SECRET: secret,
    SALLYPORT_SECRET: secret,
    ...given,
  });
  expect(warnings).toEqual([]);
});

function setting(line: string): [name: string, value: string] {
  const equals = line.indexOf('=');
  expect(equals).toBeGreaterThan(0);
  return [line.slice(0, equals), line.slice(equals + 1)];
}

test.each(inLanguage('dockerfile'))('the Dockerfile block $place holds instructions only', ({ code }) => {
  const lines = code.trim().split('\n');
  expect(lines[0]).toMatch(/^FROM \S+$/);
  expect(lines.filter((line) => !/^(?:FROM|COPY|ENV|RUN|USER) \S/.test(line))).toEqual([]);
});

test.each(inLanguage('nginx'))('nginx takes the block $place', ({ code }) => {
  expect(nginxFaults(code)).toBe('');
  expect(nginxFaults(`${code} proxy_pas x;`)).toContain('unknown directive "proxy_pas"');
});

test.each(inLanguage('mermaid'))('the arrows of the diagram $place join participants', ({ code }) => {
  const participants = new Set([...code.matchAll(/^ *participant (\w+) as /gm)].map(([, name]) => name));
  const ends = [...code.matchAll(/^ *(\w+)--?>>(\w+): /gm)].flatMap(([, from, to]) => [from, to]);
  expect(ends.length).toBeGreaterThan(10);
  expect(ends.filter((name) => !participants.has(name))).toEqual([]);
});

/** The documentation leads somewhere: links, anchors, files, scripts and variables that it names exist. */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { loadConfig } from '../../src/config/sources.ts';
import { anchors, documentationPages, prose, readPage, relativeLinks, root } from '../support/markdown.ts';

const pages = documentationPages();

test.each(pages)('the relative links of %s lead to files and headings that exist', (page) => {
  const broken = relativeLinks(page).filter(
    ({ file, anchor }) => !existsSync(join(root, file)) || (anchor !== '' && !anchors(file).has(anchor)),
  );
  expect(broken.map(({ href }) => href)).toEqual([]);
});

test('README.md links every other page', () => {
  const linked = new Set(relativeLinks('README.md').map(({ file }) => file));
  const reachable = new Set([...linked].filter((file) => file.endsWith('.md')).flatMap((file) => linksOf(file)));
  const unlinked = pages.filter((page) => page !== 'README.md' && !linked.has(page) && !reachable.has(page));
  expect(unlinked).toEqual([]);
  expect(pages.filter((page) => page.startsWith('docs/') && !linked.has(page))).toEqual([]);
});

function linksOf(page: string): string[] {
  return relativeLinks(page).map(({ file }) => file);
}

test('README.md has less than 12 kB', () => {
  expect(Buffer.byteLength(readPage('README.md'))).toBeLessThan(12_000);
});

/** A name in code style that begins like a path of the repository. */
const path = /`((?:src|test|docs|deploy|scripts|spa-example|\.ci)\/[\w./-]*|[\w-]+\.(?:md|json|yml))`/g;

test.each(pages)('the files that %s names exist', (page) => {
  const names = [...prose(page).matchAll(path)].map(([, name = '']) => name);
  const places = [root, join(root, page, '..')];
  const exists = (name: string) => places.some((folder) => existsSync(join(folder, name)));
  expect(names.filter((name) => !exists(name) && !writtenByUsers.has(name))).toEqual([]);
});

/** Named as what a user has, or has not. */
const writtenByUsers = new Set(['sallyport.config.json']);

test.each(pages)('the npm scripts that %s names exist', (page) => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: object };
  const named = [...readPage(page).matchAll(/\bnpm (?:run (?:--silent )?([\w:.-]+)|(start|test)\b)/g)];
  const names = named.map(([, run, short]) => run ?? short ?? '');
  // Those of the reader's own app.
  const own = new Set(['build', 'dev', 'preview']);
  expect(names.filter((name) => !Object.hasOwn(scripts, name) && !own.has(name))).toEqual([]);
});

test.each(pages)('the variables that %s names are known', async (page) => {
  const named = [...readPage(page).matchAll(/\bSALLYPORT_[A-Z_]+[A-Z]\b/g)].map(([name]) => [name, ''] as const);
  expect(await warningsOf(Object.fromEntries(named))).toEqual([]);
});

/** What a start with these variables warns of; empty ones set nothing. */
async function warningsOf(variables: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const secret = randomBytes(32).toString('base64url');
  const client = { id: 'my-app', secret };
  const file = join(tmpdir(), `sallyport-docs-${randomBytes(6).toString('hex')}.json`);
  const config = { origin: 'https://app.example.com', issuer: 'https://login.example.com', client, secrets: [secret] };
  writeFileSync(file, JSON.stringify(config));
  onTestFinished(() => rmSync(file));
  return (await loadConfig(file, variables)).warnings;
}

test('a variable that is not known would be seen', async () => {
  expect(await warningsOf({ SALLYPORT_ORIGINS: '' })).toHaveLength(1);
});

test('a broken link, a missing anchor and a repeated heading would be seen', () => {
  expect(anchors('docs/sessions.md').has('the-grace-period')).toBe(true);
  expect(anchors('docs/sessions.md').has('no-such-heading')).toBe(false);
  expect(relativeLinks('docs/sessions.md').map(({ file }) => file)).toContain('docs/http-interface.md');
});

/** The documentation leads somewhere: links, anchors, files, scripts and variables that it names exist. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { variables } from '../../src/config/sources.ts';
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
  // `cd ../my-app && npm run build` is the reader's own.
  expect(names.filter((name) => !Object.hasOwn(scripts, name) && name !== 'build')).toEqual([]);
});

test.each(pages)('the variables that %s names are known', (page) => {
  const known = new Set(variables.flatMap(({ name, secret }) => (secret ? [name, `${name}_FILE`] : [name])));
  const named = [...readPage(page).matchAll(/\bSALLYPORT_[A-Z_]+[A-Z]\b/g)].map(([name]) => name);
  expect(named.filter((name) => !known.has(name))).toEqual([]);
});

test('a broken link, a missing anchor and a repeated heading would be seen', () => {
  expect(anchors('docs/sessions.md').has('the-grace-period')).toBe(true);
  expect(anchors('docs/sessions.md').has('no-such-heading')).toBe(false);
  expect(relativeLinks('docs/sessions.md').map(({ file }) => file)).toContain('docs/http-interface.md');
});

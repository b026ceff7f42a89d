/** What the documentation says of the configuration and of errors is what the code says. */
import { expect, test } from 'vitest';
import { configKeys } from '../../src/config/reference.ts';
import { variables } from '../../src/config/variables.ts';
import { BffError, errorCodes } from '../../src/http/errors.ts';
import { securityHeaders } from '../../src/spa/security-headers.ts';
import { configSection, configTable } from '../support/config-table.ts';
import { errorSection, errorTable } from '../support/error-table.ts';
import { textSection, textTable } from '../support/text-table.ts';
import { headerSection, headerTable } from '../support/header-table.ts';
import { readPage } from '../support/markdown.ts';
import { readSection } from '../support/marked-section.ts';

test('the option table equals the schema; if not: npm run docs:config', async () => {
  expect(readSection(configSection)).toBe(await configTable());
});

test('the option table names every key and every variable, each with a type and a meaning', async () => {
  const rows = (await configTable()).split('\n').slice(2);
  expect(rows).toHaveLength(configKeys().length);
  for (const column of [3, 5]) expect(rows.filter((row) => cellOf(row, column) === '')).toEqual([]);
  const table = rows.join('\n');
  expect(configKeys().filter(({ path }) => !table.includes(`\`${path}\``))).toEqual([]);
  expect(variables.filter(({ name }) => !table.includes(`\`${name}\``)).map(({ name }) => name)).toEqual([]);
});

test('the option table shows ranges, allowed values, defaults and what is required', async () => {
  const rows = (await configTable()).split('\n');
  const row = (path: string) => rows.find((line) => line.startsWith(`| \`${path}\` `)) ?? '';
  expect([1, 2, 3, 4].map((column) => cellOf(row('session.lifetimeSeconds'), column))).toEqual([
    '`session.lifetimeSeconds`',
    '`SALLYPORT_SESSION_LIFETIME`',
    'number 1 to 34560000',
    '`28800`',
  ]);
  expect(cellOf(row('client.responseMode'), 3)).toBe('`query`, `form_post`, `jwt`, `form_post.jwt`');
  expect(cellOf(row('upstream.maxBodyBytes'), 3)).toBe('whole number, at least 0');
  expect(cellOf(row('issuer'), 4)).toBe('required');
});

test('the error table equals the code; if not: npm run docs:errors', async () => {
  expect(readSection(errorSection)).toBe(await errorTable());
});

test('the table of texts equals the code; if not: npm run docs:texts', async () => {
  expect(readSection(textSection)).toBe(await textTable());
});

test('the error table names every code with its status, its title and when it is sent', async () => {
  const rows = (await errorTable()).split('\n').slice(2);
  const cells = rows.map((row) => [1, 2, 3].map((column) => cellOf(row, column)));
  const sent = errorCodes.map((code) => new BffError(code, ''));
  expect(cells).toEqual(sent.map(({ code, status, title }) => [`\`${code}\``, String(status), title]));
  expect(rows.filter((row) => cellOf(row, 4) === '')).toEqual([]);
});

test('the table of dropped headers equals the code; if not: npm run docs:headers', async () => {
  expect(readSection(headerSection)).toBe(await headerTable());
});

test('the page on deployment says which features of browsers are switched off', () => {
  const policy = new Map(securityHeaders({ origin: 'https://app.example.com' })).get('permissions-policy') ?? '';
  const features = policy.split(', ').map((feature) => feature.replace('=()', ''));
  expect(features.length).toBeGreaterThan(5);
  const page = readPage('docs/deployment.md');
  expect(features.filter((feature) => !page.includes(`\`${feature}\``))).toEqual([]);
});

test('a document without its marks is an error that says so', () => {
  for (const text of [
    '',
    '<!-- config:start -->',
    '<!-- config:end --><!-- config:start -->',
    '<!-- config:start --><!-- config:end --><!-- config:end -->',
    '<!-- config:start --><!-- config:start --><!-- config:end -->',
  ]) {
    expect(() => readSection(configSection, text)).toThrow(/must hold/);
  }
});

function cellOf(row: string, column: number): string | undefined {
  return row
    .split(/(?<!\\)\|/)
    .at(column)
    ?.trim();
}

/** What README.md says of the configuration is what the schema says. */
import { expect, test } from 'vitest';
import { configKeys } from '../../src/config/config.ts';
import { variables } from '../../src/config/sources.ts';
import { configTable, tableInReadme } from '../support/config-table.ts';

test('the configuration table equals the schema; if not: node test/support/config-table.ts --write', async () => {
  expect(tableInReadme()).toBe(await configTable());
});

test('the table names every key and every variable, each with a meaning', async () => {
  const rows = (await configTable()).split('\n').slice(2);
  expect(rows).toHaveLength(configKeys().length);
  expect(
    rows.filter(
      (row) =>
        row
          .split(/(?<!\\)\|/)
          .at(4)
          ?.trim() === '',
    ),
  ).toEqual([]);
  const table = rows.join('\n');
  expect(configKeys().filter(({ path }) => !table.includes(`\`${path}\``))).toEqual([]);
  expect(variables.filter(({ name }) => !table.includes(`\`${name}\``)).map(({ name }) => name)).toEqual([]);
});

test('a table without its marks is an error that says so', () => {
  for (const text of [
    '',
    '<!-- config:start -->',
    '<!-- config:end --><!-- config:start -->',
    '<!-- config:start --><!-- config:end --><!-- config:end -->',
  ]) {
    expect(() => tableInReadme(text)).toThrow(/must hold/);
  }
});

/**
 * The configuration table of README.md, made from the schema and the list of variables.
 * `node test/support/config-table.ts --write` writes it between the two marks.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { format } from 'prettier';
import { configKeys, type ConfigKey } from '../../src/config/config.ts';
import { variables } from '../../src/config/sources.ts';

const readme = new URL('../../README.md', import.meta.url);
const marks = ['<!-- config:start -->', '<!-- config:end -->'] as const;

/** The table in Markdown, as the formatter leaves it. */
export async function configTable(): Promise<string> {
  const rows = configKeys().map((key) => [variableOf(key), `\`${key.path}\``, defaultOf(key), key.description]);
  const lines = [['variable', 'key', 'default', 'meaning'], ['---', '---', '---', '---'], ...rows];
  const table = lines.map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`);
  return (await format(table.join('\n'), { parser: 'markdown' })).trim();
}

/** What stands between the marks. @throws when README.md doesn't have both, once */
export function tableInReadme(text = readFileSync(readme, 'utf8')): string {
  const [, behind = '', ...more] = text.split(marks[0]);
  const [between, , ...others] = behind.split(marks[1]);
  if (between === undefined || !behind.includes(marks[1]) || more.length + others.length > 0) {
    throw new Error(`README.md must hold ${marks.join(' and ')}, once and in this order.`);
  }
  return between.trim();
}

/** Puts the table between the marks. */
export async function writeTable(): Promise<void> {
  const text = readFileSync(readme, 'utf8');
  const old = tableInReadme(text);
  const [start, end] = [text.indexOf(marks[0]) + marks[0].length, text.indexOf(marks[1])];
  const table = await configTable();
  if (table !== old) writeFileSync(readme, `${text.slice(0, start)}\n\n${table}\n\n${text.slice(end)}`);
}

/** `SALLYPORT_SPA` is two keys in one; an environment variable for a whole list stands with the list. */
function variableOf({ path }: ConfigKey): string {
  const given = variables.find((variable) => variable.path === path || (variable.path === 'spa' && isSpa(path)));
  return given === undefined ? '' : `\`${given.name}\``;
}

function isSpa(path: string): boolean {
  return path === 'spa.folder' || path === 'spa.devServer';
}

/** JSON, but for texts, which stand as they are. */
function defaultOf({ defaultValue }: ConfigKey): string {
  if (defaultValue === undefined) return '';
  return `\`${defaultValue.replace(/^"(.*)"$/, '$1')}\``;
}

if (process.argv[1] === import.meta.filename && process.argv.includes('--write')) await writeTable();

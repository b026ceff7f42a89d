/**
 * The option table of docs/configuration.md, made from the schema and the list of variables.
 * `npm run docs:config` writes it.
 */
import { configKeys, type ConfigKey } from '../../src/config/reference.ts';
import { variables } from '../../src/config/variables.ts';
import { markdownTable, writeSection } from './marked-section.ts';

export const configSection = { file: 'docs/configuration.md', name: 'config' };

/** A row a key, in the schema's order. */
export function configTable(): Promise<string> {
  const rows = configKeys().map((key) => [
    `\`${key.path}\``,
    variableOf(key),
    key.type,
    key.required ? 'required' : defaultOf(key),
    key.description,
  ]);
  return markdownTable([['key', 'variable', 'type and range', 'default', 'meaning and consequence'], ...rows]);
}

/** `SALLYPORT_SPA` sets one of two keys and is named beside both. */
function variableOf({ path }: ConfigKey): string {
  const found = variables.find((variable) => variable.path === path || (variable.path === 'spa' && isSpaSource(path)));
  return found === undefined ? '' : `\`${found.name}\``;
}

function isSpaSource(path: string): boolean {
  return path === 'spa.folder' || path === 'spa.devServer';
}

/** JSON, except for texts, which are written without quotation marks. */
function defaultOf({ defaultValue }: ConfigKey): string {
  if (defaultValue === undefined) return '';
  return `\`${defaultValue.replace(/^"(.*)"$/, '$1')}\``;
}

if (process.argv[1] === import.meta.filename && process.argv.includes('--write')) {
  writeSection(configSection, await configTable());
}

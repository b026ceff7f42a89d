/** The table of dropped request headers in docs/http-interface.md, made from the source. `npm run docs:headers` writes it. */
import { identityFamilies, keepableHeaders } from '../../src/http/identity-headers.ts';
import { markdownTable, writeSection } from './marked-section.ts';

export const headerSection = { file: 'docs/http-interface.md', name: 'headers' };

/** A row a family, in the order of the source, and the names that a route may keep. */
export async function headerTable(): Promise<string> {
  const rows = identityFamilies.map(({ of, names }) => [of, inCode(names)]);
  const table = await markdownTable([['whose', 'dropped'], ...rows]);
  return `${table}\n\n\`keepHeaders\` may name ${inCode(keepableHeaders)}.`;
}

function inCode(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ');
}

if (process.argv[1] === import.meta.filename && process.argv.includes('--write')) {
  writeSection(headerSection, await headerTable());
}

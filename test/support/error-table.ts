/** The error table of docs/http-interface.md, made from the closed table of codes. `npm run docs:errors` writes it. */
import { describeCode, errorCodes } from '../../src/http/errors.ts';
import { markdownTable, writeSection } from './marked-section.ts';

export const errorSection = { file: 'docs/http-interface.md', name: 'errors' };

/** A row a code, in the order of the source. */
export function errorTable(): Promise<string> {
  const rows = errorCodes.map((code) => {
    const { status, title, when } = describeCode(code);
    return [`\`${code}\``, String(status), title, when];
  });
  return markdownTable([['code', 'status', 'title', 'when'], ...rows]);
}

if (process.argv[1] === import.meta.filename && process.argv.includes('--write')) {
  writeSection(errorSection, await errorTable());
}

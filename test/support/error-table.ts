/** The error table of docs/http-interface.md, made from the closed table of codes. `npm run docs:errors` writes it. */
import { describeCode, errorCodes } from '../../src/http/errors.ts';
import { markdownTable, writeSection } from './marked-section.ts';

export const errorSection = { file: 'docs/http-interface.md', name: 'errors' };

/** A row a code, in the order of the source, with an anchor to which the `type` of problems can be made to lead. */
export function errorTable(): Promise<string> {
  const rows = errorCodes.map((code) => {
    const { status, title, when, remedy } = describeCode(code);
    return [`\`${code}\``, String(status), title, `<a id="${code}"></a>${when}`, remedy];
  });
  return markdownTable([['code', 'status', 'title', 'when', 'what to do'], ...rows]);
}

if (process.argv[1] === import.meta.filename && process.argv.includes('--write')) {
  writeSection(errorSection, await errorTable());
}

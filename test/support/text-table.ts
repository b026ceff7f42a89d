/** The table of texts in docs/pages.md, made from the English ones. `npm run docs:texts` writes it. */
import { pageTexts } from '../../src/config/page-texts.ts';
import { markdownTable, writeSection } from './marked-section.ts';

export const textSection = { file: 'docs/pages.md', name: 'texts' };

/** A row a text, in the order of the source. */
export function textTable(): Promise<string> {
  const { errors, ...plain } = pageTexts.en;
  const ofErrors = Object.entries(errors).flatMap(([code, { title, text }]) => [
    [`\`errors.${code}.title\``, title],
    [`\`errors.${code}.text\``, text],
  ]);
  const ofPages = Object.entries(plain).map(([name, text]) => [`\`${name}\``, text]);
  return markdownTable([['name', 'in English'], ...ofPages, ...ofErrors]);
}

if (process.argv[1] === import.meta.filename && process.argv.includes('--write')) {
  writeSection(textSection, await textTable());
}

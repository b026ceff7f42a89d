/** A generated part of a document: what stands between `<!-- name:start -->` and `<!-- name:end -->`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format } from 'prettier';

const root = join(import.meta.dirname, '../..');

export interface MarkedSection {
  /** Path of the document, from the root of the repository. */
  readonly file: string;
  readonly name: string;
}

/** @throws when the document doesn't have both marks, once and in this order */
export function readSection({ file, name }: MarkedSection, text = readFileSync(join(root, file), 'utf8')): string {
  return split(text, { file, name }).content.trim();
}

export function writeSection({ file, name }: MarkedSection, content: string): void {
  const text = readFileSync(join(root, file), 'utf8');
  const { before, content: old, after } = split(text, { file, name });
  if (old.trim() !== content) writeFileSync(join(root, file), `${before}\n\n${content}\n\n${after}`);
}

/** A table in Markdown, as the formatter leaves it. */
export async function markdownTable(rows: readonly (readonly string[])[]): Promise<string> {
  const [head = [], ...body] = rows;
  const lines = [head, head.map(() => '---'), ...body];
  const table = lines.map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`);
  return (await format(table.join('\n'), { parser: 'markdown' })).trim();
}

function split(text: string, { file, name }: MarkedSection): { before: string; content: string; after: string } {
  const [start, end] = [`<!-- ${name}:start -->`, `<!-- ${name}:end -->`];
  const [before = '', inside, ...moreStarts] = text.split(start);
  const [content = '', after, ...moreEnds] = (inside ?? '').split(end);
  if (inside === undefined || after === undefined || moreStarts.length + moreEnds.length > 0) {
    throw new Error(`${file} must hold ${start} and ${end}, once and in this order.`);
  }
  return { before: before + start, content, after: end + after };
}

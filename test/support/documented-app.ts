/**
 * The code of docs/frameworks.md as files, literally: a block whose first line is a comment with a path becomes that file,
 * another one an example. Each section is an app of its own.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { codeBlocks, readPage } from './markdown.ts';

export interface DocumentedFile {
  /** The heading of the section. */
  readonly section: string;
  /** `vue/src/account.vue` */
  readonly path: string;
  readonly code: string;
  /** `docs/frameworks.md:123` */
  readonly place: string;
}

const page = 'docs/frameworks.md';
const languages = new Set(['ts', 'tsx', 'vue', 'svelte']);
const pathInFirstLine = /^(?:\/\/|<!--) (src\/\S+\.\w+)/;

export function documentedFiles(): DocumentedFile[] {
  const text = readPage(page);
  const headings = [...text.matchAll(/^## (.*)$/gm)].map(({ 1: title = '', index }) => ({
    title,
    line: text.slice(0, index).split('\n').length,
  }));
  return codeBlocks(page)
    .filter(({ language }) => languages.has(language))
    .map(({ place, language, code }, index) => {
      const line = Number(place.split(':').at(-1));
      const section = headings.findLast((heading) => heading.line < line)?.title ?? '';
      const path = pathInFirstLine.exec(code)?.[1] ?? `src/example-${index}.${language}`;
      return { section, place, code, path: join(section.toLowerCase().replaceAll(' ', '-'), path) };
    });
}

/** Writes them below a folder. */
export function writeDocumentedFiles(folder: string, files: readonly Pick<DocumentedFile, 'path' | 'code'>[]): void {
  for (const { path, code } of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), code);
  }
}

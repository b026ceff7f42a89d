/** The repository's documentation: its pages, their code blocks, headings and links. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

export const root = join(import.meta.dirname, '../..');

export interface CodeBlock {
  /** `page:line` of the block's first line. */
  readonly place: string;
  readonly language: string;
  readonly code: string;
  /** What a comment `<!-- context: … -->` or `<!-- type: … -->` before the block says; readers don't see it. */
  readonly context: string;
  readonly type: string;
}

/** Every page that is documentation, as a path from the root. */
export function documentationPages(): string[] {
  const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' });
  return [
    'README.md',
    'CONTRIBUTING.md',
    'spa-example/README.md',
    'test/README.md',
    'test/bench/README.md',
    ...docs.filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`),
  ];
}

export function readPage(page: string): string {
  return readFileSync(join(root, page), 'utf8');
}

const fence = /(?:<!-- (context|type): ([^]*?) -->\s*)?^```(\w*)\n([^]*?)^```$/gm;

export function codeBlocks(page: string, text = readPage(page)): CodeBlock[] {
  return [...text.matchAll(fence)].map((match) => {
    const [whole, comment, said = '', language = '', code = ''] = match;
    const line = text.slice(0, match.index + whole.indexOf('```')).split('\n').length + 1;
    return {
      place: `${page}:${line}`,
      language,
      code,
      context: comment === 'context' ? said : '',
      type: comment === 'type' ? said : '',
    };
  });
}

/** The examples in the comments of a source file, as {@link codeBlocks} gives those of a page. */
export function commentExamples(file: string): CodeBlock[] {
  const text = readPage(file);
  return [...text.matchAll(/^\/\*\*\n(?: \*.*\n)+? \*\/$/gm)].flatMap(({ 0: comment, index }) => {
    const before = text.slice(0, index).split('\n').length - 1;
    return codeBlocks(file, comment.replaceAll(/^ \* ?/gm, '')).map((block) => {
      const line = Number(block.place.split(':').at(-1)) + before;
      return Object.assign(block, { place: `${file}:${line}` });
    });
  });
}

/** A page without its code blocks and comments, where `#` and `](` mean something else. */
export function prose(page: string, text = readPage(page)): string {
  return text.replaceAll(/^```[^]*?^```$/gm, '').replaceAll(/<!--[^]*?-->/g, '');
}

/** The anchors that a page's headings have on GitHub, and those that stand in it. */
export function anchors(page: string): Set<string> {
  const found = new Set([...prose(page).matchAll(/<a id="([\w-]+)">/g)].map(([, id = '']) => id));
  for (const [, heading = ''] of prose(page).matchAll(/^#{1,6} (.*)$/gm)) {
    const slug = heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let count = 1; found.has(anchor); count++) anchor = `${slug}-${count}`;
    found.add(anchor);
  }
  return found;
}

export interface Link {
  /** What stands in the page. */
  readonly href: string;
  /** The file that it leads to, as a path from the root. */
  readonly file: string;
  readonly anchor: string;
}

/** The links to other places in the repository. */
export function relativeLinks(page: string): Link[] {
  return [...prose(page).matchAll(/\]\(([^()\s]+)\)/g)]
    .map(([, href = '']) => href)
    .filter((href) => !/^[a-z]+:/.test(href))
    .map((href) => {
      const [path = '', anchor = ''] = href.split('#');
      return { href, file: path === '' ? page : posix.join(posix.dirname(page), path), anchor };
    });
}

/** Whether a folder can be served as an SPA: it must be what a build wrote, not what it is made from. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { lacksScheme } from './kinds.ts';

const devServerInstead = 'to develop, name the dev server instead, e.g. "http://localhost:5173"';

/** Why the folder cannot be served, with the remedy. */
export function faultOfSpaFolder(folder: string): string | undefined {
  const path = resolve(folder);
  if (!existsSync(path)) {
    // A path from a file has been made absolute.
    const name = basename(folder);
    return lacksScheme(name) && /:\d/.test(name)
      ? `"${name}" is no folder; write a dev server's whole address, "http://${name}", as SALLYPORT_SPA or spa.devServer`
      : `the folder "${path}" does not exist; build your SPA first, or correct the path`;
  }
  if (!existsSync(join(path, 'index.html'))) {
    return `the folder "${path}" holds no index.html; ${remedyFor(path)}`;
  }
  const sign = signOfSource(path);
  if (sign === undefined) return undefined;
  return `the folder "${path}" holds the source of an app, not its build (${sign}); ${remedyFor(path)}`;
}

/** Whether the folder's document holds a placeholder. */
export function holdsPlaceholder(folder: string, placeholder: string): boolean {
  return readDocument(join(resolve(folder), 'index.html')).includes(placeholder);
}

/** Where bundlers put what they build, Angular's in a folder of its own. */
const builds = ['{dist,build,out,www}/index.html', '{.,dist}/{browser,*/browser}/index.html'];

function remedyFor(path: string): string {
  const [built] = globSync(builds, { cwd: path });
  const build = built === undefined ? 'name the folder that your build writes' : `name "${join(path, dirname(built))}"`;
  return existsSync(join(path, 'package.json')) ? `${build}; ${devServerInstead}` : build;
}

/** What shows that no bundler has worked on the folder's document: a browser would show an empty page. */
function signOfSource(path: string): string | undefined {
  const document = readDocument(join(path, 'index.html'));
  const scripts = [...document.matchAll(/<script\b[^>]*?\bsrc\s*=\s*["']?([^"'\s>]+)/gi)].map(([, src = '']) => src);
  const uncompiled = scripts.find((src) => /\.(?:[cm]?tsx?|jsx|vue|svelte)(?:\?|$)/i.test(src));
  if (uncompiled !== undefined) return `its index.html loads ${uncompiled}`;
  const placeholder = /%PUBLIC_URL%|%sveltekit\.\w+%|<%= ?(?:BASE_URL|htmlWebpackPlugin)/.exec(document)?.[0];
  if (placeholder !== undefined) return `its index.html holds the placeholder ${placeholder}`;
  const source = scripts.find((src) => /^(?:\.?\/)?src\//.test(src));
  if (source !== undefined && existsSync(join(path, 'package.json'))) return `its index.html loads ${source}`;
  // Angular's build writes the scripts into the document.
  return scripts.length === 0 && existsSync(join(path, 'main.ts')) ? 'it holds main.ts' : undefined;
}

/** Unreadable is empty: the server says why when it reads the file. */
function readDocument(file: string): string {
  try {
    return readFileSync(file, 'utf8').replaceAll(/<!--[^]*?-->/g, '');
  } catch {
    return '';
  }
}

/**
 * The Content-Security-Policy of the app's documents (CSP 3): strict by default, with what the operator adds (`spa.csp`),
 * and for each document the hashes or the nonce of its own code. Hides how additions and fallbacks combine.
 */
import { noInlineHashes, type InlineHashes } from './inline-hashes.ts';

/** Sources that are allowed besides the default ones, by directive. */
export type CspAdditions = Readonly<Record<string, readonly string[]>>;

/** What belongs to one document, or to one response with it. */
export interface OwnCode {
  /** Without them no inline script or style runs. */
  readonly inline?: InlineHashes | undefined;
  readonly nonce?: string | undefined;
}

const defaults: CspAdditions = {
  'default-src': ["'self'"],
  'script-src': ["'self'"],
  'style-src': ["'self'"],
  // Bundlers write small images and icon fonts into the stylesheet as data: URLs, and apps show what they have fetched or
  // drawn as blob: URLs; neither can run code.
  'img-src': ["'self'", 'data:', 'blob:'],
  'font-src': ["'self'", 'data:'],
  'connect-src': ["'self'"],
  'object-src': ["'none'"],
  // 'none' would break every Angular build, which carries <base href="/">. 'self' still stops a foreign base.
  'base-uri': ["'self'"],
  'form-action': ["'self'"],
  'frame-ancestors': ["'none'"],
};

/** The directive that counts where one is absent (CSP 3 6.8.1), for those that have no default here. */
const fallbacks: Readonly<Record<string, string>> = {
  'script-src-elem': 'script-src',
  'style-src-elem': 'style-src',
  'worker-src': 'script-src',
  'child-src': 'default-src',
  'frame-src': 'default-src',
  'media-src': 'default-src',
  'manifest-src': 'default-src',
};

/** The policy. A directive that is added in place of a fallback allows what the fallback allows. */
export function contentSecurityPolicy(
  additions: CspAdditions = {},
  { inline = noInlineHashes, nonce }: OwnCode = {},
): string {
  const directives = new Map(Object.entries(defaults));
  for (const [name, added] of Object.entries(additions))
    directives.set(name, combined(sourcesBefore(name, additions), added));

  const fresh = nonce === undefined ? [] : [`'nonce-${nonce}'`];
  for (const name of ['script-src', 'script-src-elem']) addOwn(directives, name, [...inline.scripts, ...fresh]);
  for (const name of ['style-src', 'style-src-elem']) addOwn(directives, name, [...inline.styles, ...fresh]);
  addAttributes(directives, 'script-src', inline.handlers);
  addAttributes(directives, 'style-src', inline.styleAttributes);
  return [...directives].map(([name, sources]) => [name, ...sources].join(' ')).join('; ');
}

/** What a directive allows without an addition to itself. */
function sourcesBefore(name: string, additions: CspAdditions): readonly string[] {
  const own = defaults[name];
  if (own !== undefined) return own;
  const fallback = fallbacks[name];
  return fallback === undefined ? [] : combined(sourcesBefore(fallback, additions), additions[fallback] ?? []);
}

/** 'none' counts alone only: added, it replaces the default, and a default 'none' gives way. */
function combined(before: readonly string[], added: readonly string[]): readonly string[] {
  if (added.includes(none)) return added;
  return [...new Set([...before.filter((source) => source !== none), ...added])];
}

/** Adds hashes and nonces to a directive that the policy has. */
function addOwn(directives: Map<string, readonly string[]>, name: string, own: readonly string[]): void {
  const sources = directives.get(name);
  if (sources !== undefined && !isIndifferent(sources)) directives.set(name, [...sources, ...own]);
}

/**
 * Allows attributes by their hashes, in the directive for attributes alone: in the one for elements, 'unsafe-hashes' would
 * let every hashed script run as a handler, too.
 */
function addAttributes(directives: Map<string, readonly string[]>, fallback: string, hashes: readonly string[]): void {
  const name = `${fallback}-attr`;
  const sources = directives.get(name) ?? directives.get(fallback) ?? [];
  if (hashes.length === 0 || isIndifferent(sources)) return;
  directives.set(name, combined(directives.get(name) ?? [], ["'unsafe-hashes'", ...hashes]));
}

/** Whether hashes add nothing: beside them browsers ignore 'unsafe-inline' (CSP 3 6.7.3.2), which the operator wants. */
function isIndifferent(sources: readonly string[]): boolean {
  if (sources.includes(none)) return true;
  return sources.includes("'unsafe-inline'") && !sources.includes("'strict-dynamic'");
}

const none = "'none'";

/**
 * The hashes of what is written into a document itself (CSP 3 6.7.2.2): scripts, styles, event handlers and style
 * attributes, so that a theme switch, a splash screen or a stylesheet that is loaded late works under the strict policy.
 *
 * Only for HTML that the app's developers wrote or built, never for HTML that contains a user's input: the hash allows
 * every script that is in the document.
 *
 * Reads tags by pattern and not as a browser does. If the two differ, a hash is missing and the script is blocked; a
 * script that isn't in the document never gets a hash.
 */
import { hash } from 'node:crypto';

/** CSP source expressions (`'sha256-…'`) that let a document's own inline code run, and no other. */
export interface InlineHashes {
  readonly scripts: readonly string[];
  readonly styles: readonly string[];
  /** Of event handlers such as `onload`. */
  readonly handlers: readonly string[];
  /** Of `style` attributes. */
  readonly styleAttributes: readonly string[];
}

export const noInlineHashes: InlineHashes = { scripts: [], styles: [], handlers: [], styleAttributes: [] };

export function inlineHashes(html: string): InlineHashes {
  const scripts = new Set<string>();
  const styles = new Set<string>();
  const handlers = new Set<string>();
  const styleAttributes = new Set<string>();
  // A browser hashes the parsed text, in which every line end is LF (HTML 13.2.3.5).
  const text = html.replaceAll(/\r\n?/g, '\n');
  for (const [, tag = '', attributes = '', content = ''] of text.matchAll(inlineElement)) {
    if (content === '' || /\ssrc\s*=/i.test(attributes)) continue;
    (tag.toLowerCase() === 'script' ? scripts : styles).add(sourceOf(content));
  }
  // What stands in comments and scripts is no attribute.
  const tags = text.replaceAll(comment, '').replaceAll(inlineElement, '<$1$2>');
  for (const [, attributes = ''] of tags.matchAll(openingTag)) {
    for (const [, name = '', ...values] of attributes.matchAll(attribute)) {
      const value = decode(values.find((each) => each !== undefined) ?? '');
      if (value === '') continue;
      if (/^on/i.test(name)) handlers.add(sourceOf(value));
      else if (name.toLowerCase() === 'style') styleAttributes.add(sourceOf(value));
    }
  }
  return {
    scripts: [...scripts],
    styles: [...styles],
    handlers: [...handlers],
    styleAttributes: [...styleAttributes],
  };
}

const inlineElement = /<(script|style)(\s[^>]*)?>([^]*?)<\/\1/gi;
const comment = /<!--[^]*?-->/g;
const openingTag = /<[a-z][^\s>/]*((?:"[^"]*"|'[^']*'|[^"'>])*)>/gi;
const attribute = /([^\s"'<>/=]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+))/g;

function sourceOf(content: string): string {
  return `'sha256-${hash('sha256', content, 'base64')}'`;
}

/** The entities that builds write into attributes. With another one the hash doesn't fit, and the code is blocked. */
function decode(value: string): string {
  return value.replaceAll(/&(?:#x([0-9a-f]+)|#(\d+)|(amp|quot|apos|lt|gt));/gi, (whole, hex, decimal, name) => {
    if (name !== undefined) return entities[String(name).toLowerCase()] ?? whole;
    const code = hex === undefined ? Number(decimal) : Number.parseInt(String(hex), 16);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}

const entities: Readonly<Record<string, string>> = { amp: '&', quot: '"', apos: "'", lt: '<', gt: '>' };

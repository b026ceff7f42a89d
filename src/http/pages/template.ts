/**
 * The template of Sallyport's own pages: one column, one style, no external resource. Hides the markup, the theme and the
 * headers; the words are the callers'.
 */
import { createHash } from 'node:crypto';

/** A page, with the headers that it must be sent with. */
export interface Page {
  readonly html: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What makes the pages an app's own. */
export interface Theme {
  readonly appName?: string | undefined;
  readonly accentColor: string;
  /** A `data:` URL. */
  readonly logoUrl?: string | undefined;
}

/** What differs from page to page. All but `title` is HTML. */
export interface PageContent {
  readonly title: string;
  readonly body: string;
  readonly head?: string;
  readonly script?: string;
  /** Whether it moves on by itself: then it shows no more than it must. */
  readonly isTransient?: boolean;
  /** Sources to which a form may be sent. Default: none. */
  readonly formAction?: "'self'";
  /** The origin of the pages that may frame it. Default: none. */
  readonly frameAncestor?: string;
}

export interface LanguageOfPage {
  readonly lang: string;
  readonly dir: 'ltr' | 'rtl';
}

/** @returns a function that makes pages of one theme */
export function createTemplate({ appName, accentColor, logoUrl }: Theme) {
  const style = styleOf(accentColor);
  const styleSource = hashSource(style);
  const mark = logoUrl === undefined ? '' : `<img src="${escape(logoUrl)}" alt="">`;
  const name = appName === undefined ? '' : `<span>${escape(appName)}</span>`;
  const header = mark + name === '' ? '' : `<header>${mark}${name}</header>`;
  const titleEnd = appName === undefined ? '' : ` · ${escape(appName)}`;

  return function page({ lang, dir }: LanguageOfPage, content: PageContent): Page {
    const { title, body, head = '', script, isTransient = false, frameAncestor } = content;
    return {
      html:
        `<!doctype html><html lang="${lang}" dir="${dir}"><head><meta charset="utf-8">` +
        `<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark">` +
        `<meta name="robots" content="noindex">${head}<title>${escape(title)}${titleEnd}</title><style>${style}</style></head>` +
        `<body>${isTransient ? '' : header}<main><h1>${escape(title)}</h1>${body}</main>` +
        `${script === undefined ? '' : `<script>${script}</script>`}</body></html>`,
      headers: {
        'content-type': 'text/html; charset=utf-8',
        'content-language': lang,
        'content-security-policy': policyOf({ styleSource, showsLogo: !isTransient && logoUrl !== undefined }, content),
        'cache-control': 'no-store',
        'cross-origin-opener-policy': 'same-origin',
        'referrer-policy': 'no-referrer',
        vary: 'accept-language',
        'x-content-type-options': 'nosniff',
        // They know no origin but their own: browsers ignore the first beside `frame-ancestors` (CSP 3 6.4.2.2), and the
        // second keeps a framing page that isolates itself (COEP) from loading it.
        ...(frameAncestor === undefined
          ? { 'cross-origin-resource-policy': 'same-origin', 'x-frame-options': 'DENY' }
          : {}),
      },
    };
  };
}

/** The Content-Security-Policy: the page's own style, the app's icon, the logo and the one script, where it has them. */
function policyOf(
  { styleSource, showsLogo }: { readonly styleSource: string; readonly showsLogo: boolean },
  { script, formAction, frameAncestor }: PageContent,
): string {
  return [
    "default-src 'none'",
    `style-src '${styleSource}'`,
    `img-src 'self'${showsLogo ? ' data:' : ''}`,
    ...(script === undefined ? [] : [`script-src '${hashSource(script)}'`]),
    `form-action ${formAction ?? "'none'"}`,
    "base-uri 'none'",
    `frame-ancestors ${frameAncestor ?? "'none'"}`,
  ].join('; ');
}

/** Each pair of colours has the contrast that WCAG 2.2 1.4.3 asks for, whatever the accent: text is never drawn in it. */
function styleOf(accent: string): string {
  return `:root{color-scheme:light dark;--page:#f3f4f7;--card:#fff;--text:#1b1f24;--quiet:#565e69;--line:#d3d8df;--accent:${accent};--on-accent:${readableOn(accent)}}
@media(prefers-color-scheme:dark){:root{--page:#111418;--card:#1b1f25;--text:#e9edf2;--quiet:#a8b1bc;--line:#39404a}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;min-height:100dvh;padding:1.5rem 1rem;display:flex;flex-direction:column;align-items:center;justify-content:center;gap:1rem;background:var(--page);color:var(--text);font:1rem/1.55 system-ui,sans-serif;overflow-wrap:anywhere}
header{display:flex;flex-wrap:wrap;align-items:center;justify-content:center;gap:.75rem;font-weight:600;max-width:100%}
header img{display:block;max-height:3rem;max-width:12rem}
main{width:100%;max-width:34rem;padding:clamp(1.25rem,6vw,2.25rem);background:var(--card);border:1px solid var(--line);border-top:.25rem solid var(--accent);border-radius:.75rem}
h1{margin:0 0 .75rem;font-size:1.5rem;line-height:1.25}
h2{margin:0 0 .5rem;font-size:1.1rem}
p{margin:.5rem 0}
nav{display:flex;flex-wrap:wrap;gap:.5rem 1.25rem;align-items:center;margin-top:1.5rem}
a,button{color:inherit;font:inherit;text-underline-offset:.2em}
.button,button{display:inline-block;padding:.55rem 1.1rem;border:1px solid var(--line);border-radius:.5rem;background:var(--accent);color:var(--on-accent);text-decoration:none;cursor:pointer}
button.quiet{background:none;color:inherit}
a:focus-visible,button:focus-visible{outline:3px solid var(--text);outline-offset:3px;border-radius:.5rem}
[hidden]{display:none}
.facts{margin-top:1.75rem;padding-top:1rem;border-top:1px solid var(--line);color:var(--quiet);font-size:.875rem}
b{font-weight:600}
code{font-family:ui-monospace,monospace;font-size:.95em}
section{margin-top:2rem}
section:target{outline:2px solid var(--text);outline-offset:.75rem;border-radius:.25rem}`;
}

/** Black or white, whichever has the higher contrast to a colour (WCAG 2.2, relative luminance): never less than 4.5 to 1. */
function readableOn(color: string): '#000' | '#fff' {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((start) => {
    const value = Number.parseInt(color.slice(start, start + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return 1.05 / (luminance + 0.05) >= (luminance + 0.05) / 0.05 ? '#fff' : '#000';
}

/** For text and for double-quoted attributes: text from a provider or a URL is hostile. */
export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

function hashSource(content: string): string {
  return `sha256-${createHash('sha256').update(content).digest('base64')}`;
}

/** The few pages that Sallyport shows itself: small, readable, without scripts where possible, every text escaped. */
import { createHash } from 'node:crypto';
import type { AddressMark } from './address-mark.ts';
import type { CodeDescription } from './errors.ts';

const style = `:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:Canvas;color:CanvasText}
main{max-width:34rem;padding:2rem}h1{font-size:1.5rem;line-height:1.25;margin:0 0 .75rem}p{margin:.5rem 0}
a,button{display:inline-block;margin:1rem .75rem 0 0;padding:.6rem 1.1rem;border-radius:.5rem;border:0;background:#1f5eff;color:#fff;font:inherit;text-decoration:none;cursor:pointer}
a.plain{background:none;color:inherit;text-decoration:underline;padding-inline:0}
h2{font-size:1.1rem;margin:2rem 0 0}:target{outline:2px solid #1f5eff;outline-offset:.75rem}
small{display:block;margin-top:2rem;opacity:.7}code{font-family:ui-monospace,monospace}`;
const submitScript = 'document.forms[0].submit()';
const closeButtonScript = "const b=document.querySelector('button');b.hidden=false;b.onclick=()=>close()";
/** Appends to the query as it stands: the app may read it letter by letter. */
const reloadScript = (mark: string) =>
  `const u=new URL(location.href);u.search+=(u.search?'&':'?')+'${mark}';location.replace(u)`;

/** The Content-Security-Policy of these pages: their own style, the app's icon and, where needed, their one script. */
const policy = (...sources: string[]) => `${unframedPolicy(sources)}; frame-ancestors 'none'`;
const unframedPolicy = (sources: readonly string[]) =>
  ["default-src 'none'", `style-src '${hashSource(style)}'`, "img-src 'self'", ...sources, "base-uri 'none'"].join(
    '; ',
  );

/** A page, with the headers that it must be sent with. */
export interface Page {
  readonly html: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface PageLink {
  readonly href: string;
  readonly text: string;
}

/** A page for a person whose request failed: what happened, a way on, and the code and id for the operator. */
export function errorPage(content: {
  readonly title: string;
  readonly detail: string;
  readonly code: string;
  readonly requestId: string;
  readonly links: readonly PageLink[];
  /** In a popup: the base path, by which the app's tabs know whose message it is. */
  readonly popupOf?: string | undefined;
}): Page {
  const links = content.links
    .map(
      ({ href, text }, index) => `<a${index === 0 ? '' : ' class="plain"'} href="${escape(href)}">${escape(text)}</a>`,
    )
    .join('');
  const { popupOf, code } = content;
  const script =
    popupOf === undefined ? '' : announce({ basePath: popupOf, type: 'sign-in-failed', code }) + closeButtonScript;
  const scripted = script === '' ? '' : `<button type="button" hidden>Close this window</button>${scriptOf(script)}`;
  return page(
    content.title,
    `<p>${escape(content.detail)}</p>${links}${scripted}<small>Code <code>${escape(code)}</code> · Request <code>${escape(content.requestId)}</code></small>`,
    policy(...(script === '' ? [] : [`script-src '${hashSource(script)}'`]), "form-action 'none'"),
  );
}

/**
 * The end of a login in a popup: tells the app's tabs, and closes the window.
 * @param returnTo where the person goes on if no script runs, or if the window is none that a script may close
 */
export function popupPage(basePath: string, returnTo: string): Page {
  const script = `${announce({ basePath, type: 'signed-in' })}setTimeout(()=>close())`;
  return page(
    'You are signed in',
    `<p>You can close this window.</p><a href="${escape(returnTo)}">Go to the app</a>${scriptOf(script)}`,
    policy(`script-src '${hashSource(script)}'`, "form-action 'none'"),
  );
}

/** What the tabs of the app hear of a popup. Nothing in it is secret: every script of the origin hears it. */
interface PopupMessage {
  readonly basePath: string;
  readonly type: 'signed-in' | 'sign-in-failed';
  readonly code?: string;
}

/** By a channel, because the app's and the provider's COOP take the opener away. Older browsers have none. */
function announce(message: PopupMessage): string {
  const literal = JSON.stringify(message).replaceAll('<', '\\u003c');
  return `if(self.BroadcastChannel)new BroadcastChannel('sallyport').postMessage(${literal});`;
}

function scriptOf(script: string): string {
  return `<script>${script}</script>`;
}

/** The reference of the codes: one paragraph each, to which a problem's `type` leads. Texts may hold code in Markdown. */
export function errorReferencePage(codes: ReadonlyArray<readonly [code: string, CodeDescription]>): Page {
  const paragraphs = codes.map(
    ([code, { status, title, when, remedy }]) =>
      `<section id="${escape(code)}"><h2><code>${escape(code)}</code></h2>` +
      `<p>${status} · ${escape(title)}</p><p>${withCode(when)}</p><p>${withCode(remedy)}</p></section>`,
  );
  return page('Errors and what to do', paragraphs.join(''), policy("form-action 'none'"));
}

function withCode(markdown: string): string {
  return escape(markdown).replaceAll(/`([^`]*)`/g, '<code>$1</code>');
}

/** Navigates the browser from this site, so that it sends `SameSite=Strict` cookies. */
export function sameSiteRedirectPage(title: string, path: string): Page {
  return page(
    title,
    `<p>One moment …</p><a href="${escape(path)}">Continue</a>`,
    policy("form-action 'none'"),
    `<meta http-equiv="refresh" content="0;url=${escape(path)}">`,
  );
}

/**
 * Loads the same address once more, now from this site: for a deep link that came from another one.
 * @param address absolute; its fragment, which only the script knows, is lost if scripts are off
 * @param mark to be added, by which the next request is known
 */
export function sameSiteReloadPage(address: string, mark: AddressMark): Page {
  const script = reloadScript(mark.name);
  const marked = escape(mark.add(address));
  return page(
    'One moment …',
    `<p>Opening the app …</p><a href="${marked}">Continue</a><script>${script}</script>`,
    policy(`script-src '${hashSource(script)}'`, "form-action 'none'"),
    `<noscript><meta http-equiv="refresh" content="0;url=${marked}"></noscript>`,
  );
}

/** For a person who has signed out of an app that nobody sees without a login. */
export function signedOutPage(signInUrl: string): Page {
  return page('You are signed out', `<a href="${escape(signInUrl)}">Sign in</a>`, policy("form-action 'none'"));
}

/**
 * What the provider's sign-out page frames (OpenID Connect Front-Channel Logout 1.0, 2). It says the same whether or not
 * there was a session.
 * @param ancestor the origin of the pages that may frame it
 */
export function framedSignOutPage(ancestor: string): Page {
  const { html, headers } = page(
    'Signed out',
    '',
    `${unframedPolicy(["form-action 'none'"])}; frame-ancestors ${ancestor}`,
  );
  // It knows no origin but its own, and browsers that know the policy ignore it beside that (CSP 3 6.4.2.2).
  const { 'x-frame-options': _, 'cross-origin-resource-policy': __, ...framed } = headers;
  return { html, headers: framed };
}

/** Posts the provider's `form_post` response once more, now from this site, with the Lax cookie of the login. */
export function repostPage(action: string, fields: Iterable<readonly [string, string]>): Page {
  const inputs = [...fields]
    .map(([name, value]) => `<input type="hidden" name="${escape(name)}" value="${escape(value)}">`)
    .join('');
  return page(
    'Signing in',
    `<form method="post" action="${escape(action)}">${inputs}<p>One moment …</p><noscript><button>Continue</button></noscript></form><script>${submitScript}</script>`,
    policy(`script-src '${hashSource(submitScript)}'`, "form-action 'self'"),
  );
}

function page(title: string, body: string, contentSecurityPolicy: string, head = ''): Page {
  return {
    html:
      `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">${head}` +
      `<title>${escape(title)}</title><style>${style}</style><main><h1>${escape(title)}</h1>${body}</main></html>`,
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': contentSecurityPolicy,
      'cache-control': 'no-store',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
    },
  };
}

/** For text and for double-quoted attributes: text from a provider or a URL is hostile. */
function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

function hashSource(content: string): string {
  return `sha256-${createHash('sha256').update(content).digest('base64')}`;
}

/**
 * The few pages that Sallyport shows itself: small, readable, in the browser's language, without scripts where possible,
 * every text escaped. What they look like is in `pages/template.ts`, their words are in `config/page-texts.ts`.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Config } from '../config/config.ts';
import { defaultLanguage, pageTexts, type Language, type PageTexts } from '../config/page-texts.ts';
import type { AddressMark } from './address-mark.ts';
import { describeCode, errorCodes, type BffError } from './errors.ts';
import { chooseLanguage, directionOf } from './pages/language.ts';
import { createTemplate, escape, type LanguageOfPage, type Page, type PageContent } from './pages/template.ts';

export type { Page } from './pages/template.ts';

export type Pages = ReturnType<typeof createPagesIn>;

/** The pages in the language that a request asks for. */
export type PagesFor = (headers: IncomingHttpHeaders) => Pages;

/** The links of an error's page; undefined for those that lead nowhere useful. */
export interface ErrorLinks {
  readonly signIn: string | undefined;
  readonly app: string | undefined;
  /** Where the code is explained. */
  readonly explanation: string | undefined;
}

export function createPages({ pages, basePath }: Pick<Config, 'pages' | 'basePath'>): PagesFor {
  const template = createTemplate(pages);
  const languages = [...new Set([...Object.keys(pageTexts), ...Object.keys(pages.texts)])];
  const made = new Map(
    languages.map((lang) => {
      const page = (content: PageContent) =>
        template({ lang, dir: directionOf(lang) } satisfies LanguageOfPage, content);
      return [lang, createPagesIn(textsIn(lang, pages), page, basePath)] as const;
    }),
  );
  return (headers) => {
    const found = made.get(chooseLanguage(headers['accept-language'], languages, pages.language));
    if (found === undefined) throw new TypeError(`There are no pages in "${pages.language}".`);
    return found;
  };
}

/** The texts of a language: the configured ones, over Sallyport's own, over those of the default language, over English. */
function textsIn(lang: string, { texts, language }: Config['pages']): PageTexts {
  return [texts[defaultLanguage], ownTexts(language), texts[language], ownTexts(lang), texts[lang]].reduce<PageTexts>(
    (below, above) => (above === undefined ? below : overlaid(below, above)),
    pageTexts[defaultLanguage],
  );
}

function ownTexts(tag: string): PageTexts | undefined {
  return Object.hasOwn(pageTexts, tag) ? pageTexts[tag as Language] : undefined;
}

type SomeTexts = NonNullable<Config['pages']['texts'][string]> | PageTexts;

function overlaid(below: PageTexts, { errors = {}, ...plain }: SomeTexts): PageTexts {
  const codes = Object.keys(below.errors) as Array<keyof PageTexts['errors']>;
  const both = codes.map((code) => [code, { ...below.errors[code], ...defined(errors[code] ?? {}) }]);
  return { ...below, ...defined(plain), errors: Object.fromEntries(both) as PageTexts['errors'] };
}

type Defined<Texts> = { [Key in keyof Texts]: Exclude<Texts[Key], undefined> };

function defined<Texts extends object>(texts: Texts): Partial<Defined<Texts>> {
  return Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== undefined)) as Partial<Defined<Texts>>;
}

function createPagesIn(texts: PageTexts, page: (content: PageContent) => Page, basePath: string) {
  /** For a person whose request failed: what happened, a way on, and the code and id for the operator. */
  function error({ code, message, pageWording, inPopup, popup }: BffError, requestId: string, links: ErrorLinks): Page {
    const { title, text } = texts.errors[pageWording ?? code];
    const actions = [
      ...(links.signIn === undefined ? [] : [linkTo(links.signIn, texts.signIn, 'button')]),
      ...(links.app === undefined
        ? []
        : [linkTo(links.app, texts.goToApp, links.signIn === undefined ? 'button' : undefined)]),
      ...(inPopup ? [`<button type="button" class="quiet" hidden>${escape(texts.closeWindow)}</button>`] : []),
      ...(links.explanation === undefined ? [] : [linkTo(links.explanation, texts.whatDoesThisMean)]),
    ];
    return page({
      title,
      body:
        `<p>${escape(text)}</p>${navigation(actions)}<div class="facts">` +
        `<p>${fact(texts.details)} <span lang="en" dir="ltr">${escape(message)}</span></p>` +
        `<p>${fact(texts.code)} <code>${escape(code)}</code></p><p>${fact(texts.request)} <code>${escape(requestId)}</code></p></div>`,
      ...(inPopup
        ? {
            script:
              announce({ basePath, type: 'sign-in-failed', code, ...(popup ? { popup } : {}) }) + closeButtonScript,
          }
        : {}),
    });
  }

  /**
   * The end of a login in a popup: tells the app's tabs, and closes the window.
   * @param returnTo where the person goes on if no script runs, or if the window is none that a script may close
   */
  function popup(returnTo: string): Page {
    return page({
      title: texts.popupTitle,
      body: `<p>${escape(texts.popupText)}</p>${navigation([linkTo(returnTo, texts.goToApp, 'button')])}`,
      script: `${announce({ basePath, type: 'signed-in' })}setTimeout(()=>close())`,
    });
  }

  /** Navigates the browser from this site, so that it sends `SameSite=Strict` cookies. */
  function sameSiteRedirect(step: 'signingIn' | 'signedIn' | 'signingOut', path: string): Page {
    return page({
      title: texts[step],
      body: `<p>${escape(texts.oneMoment)}</p>${navigation([linkTo(path, texts.continue)])}`,
      head: refreshTo(path),
      isTransient: true,
    });
  }

  /**
   * Loads the same address once more, now from this site: for a deep link that came from another one.
   * @param address absolute; its fragment, which only the script knows, is lost if scripts are off
   * @param mark to be added, by which the next request is known; its value is the fragment
   */
  function sameSiteReload(address: string, mark: AddressMark): Page {
    const marked = mark.add(address);
    return page({
      title: texts.oneMoment,
      body: `<p>${escape(texts.openingApp)}</p>${navigation([linkTo(marked, texts.continue)])}`,
      head: `<noscript>${refreshTo(marked)}</noscript>`,
      script: reloadScript(mark.name),
      isTransient: true,
    });
  }

  /** Posts the provider's `form_post` response once more, now from this site, with the Lax cookie of the login. */
  function repost(action: string, fields: Iterable<readonly [string, string]>): Page {
    const inputs = [...fields]
      .map(([name, value]) => `<input type="hidden" name="${escape(name)}" value="${escape(value)}">`)
      .join('');
    return page({
      title: texts.signingIn,
      body:
        `<form method="post" action="${escape(action)}">${inputs}<p>${escape(texts.oneMoment)}</p>` +
        `<noscript><nav><button>${escape(texts.continue)}</button></nav></noscript></form>`,
      script: submitScript,
      formAction: "'self'",
      isTransient: true,
    });
  }

  /** For a person who has signed out of an app that nobody sees without a login. */
  function signedOut(signInUrl: string): Page {
    const { signedOutTitle: title, signedOutText: text, signIn } = texts;
    return page({ title, body: `<p>${escape(text)}</p>${navigation([linkTo(signInUrl, signIn, 'button')])}` });
  }

  /**
   * What the provider's sign-out page frames (OpenID Connect Front-Channel Logout 1.0, 2). It says the same whether or not
   * there was a session.
   * @param ancestor the origin of the pages that may frame it
   */
  function framedSignOut(ancestor: string): Page {
    return page({ title: texts.signedOut, body: '', frameAncestor: ancestor, isTransient: true });
  }

  return { error, popup, sameSiteRedirect, sameSiteReload, repost, signedOut, framedSignOut };
}

/** The reference of the codes: one paragraph each, to which a problem's `type` leads. It is for developers, and in English. */
export function errorReferencePage({ pages }: Pick<Config, 'pages'>): Page {
  const paragraphs = errorCodes.map((code) => {
    const { status, title, when, remedy } = describeCode(code);
    return (
      `<section id="${code}"><h2><code>${code}</code></h2>` +
      `<p>${status} · ${escape(title)}</p><p>${withCode(when)}</p><p>${withCode(remedy)}</p></section>`
    );
  });
  const body = paragraphs.join('');
  return createTemplate(pages)({ lang: 'en', dir: 'ltr' }, { title: 'Errors and what to do', body });
}

/** Texts of the table of codes may hold code in Markdown. */
function withCode(markdown: string): string {
  return escape(markdown).replaceAll(/`([^`]*)`/g, '<code>$1</code>');
}

/** Not followed by a colon, which French sets apart and Japanese writes wider. */
function fact(name: string): string {
  return `<b>${escape(name)}</b>`;
}

function navigation(actions: readonly string[]): string {
  return actions.length === 0 ? '' : `<nav>${actions.join('')}</nav>`;
}

function linkTo(href: string, text: string, kind?: 'button'): string {
  return `<a${kind === undefined ? '' : ` class="${kind}"`} href="${escape(href)}">${escape(text)}</a>`;
}

function refreshTo(address: string): string {
  return `<meta http-equiv="refresh" content="0;url=${escape(address)}">`;
}

const submitScript = 'document.forms[0].submit()';
const closeButtonScript = "const b=document.querySelector('button');b.hidden=false;b.onclick=()=>close()";

/** Appends to the query as it stands: the app may read it letter by letter. A sign-in comes back to the fragment as well. */
function reloadScript(mark: string): string {
  return `const u=new URL(location.href);u.search+=(u.search?'&':'?')+'${mark}'+(u.hash&&'='+encodeURIComponent(u.hash));location.replace(u)`;
}

/** What the tabs of the app hear of a popup. Nothing in it is secret: every script of the origin hears it. */
interface PopupMessage {
  readonly basePath: string;
  readonly type: 'signed-in' | 'sign-in-failed';
  readonly code?: string;
  readonly popup?: string;
}

/** By a channel, because the app's and the provider's COOP take the opener away. Older browsers have none. */
function announce(message: PopupMessage): string {
  const literal = JSON.stringify(message).replaceAll('<', '\\u003c');
  return `if(self.BroadcastChannel)new BroadcastChannel('sallyport').postMessage(${literal});`;
}

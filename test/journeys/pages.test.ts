/** Sallyport's own pages: in the person's language, in the look of the app, and for operators the same everywhere. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import { pageTexts, type Language, type PageTexts } from '../../src/config/page-texts.ts';
import { errorCodes } from '../../src/http/errors.ts';
import type { BrowserClient, Navigation } from '../support/browser-client.ts';
import { leadToCallback, signIn, startWorld, type World } from '../support/world.ts';

const languages = Object.keys(pageTexts) as Language[];
const expired = '/bff/callback?state=x&code=y';

function openIn(browser: BrowserClient, language: string, path = expired, follow = true): Promise<Navigation> {
  return browser.navigate(path, { headers: { 'accept-language': language }, follow });
}

/** A page's text as a person reads it. */
function textOf({ text }: Navigation): string {
  const body = /<body>(.*)<\/body>/s.exec(text)?.[1] ?? '';
  const words = body.replaceAll(/<script>.*?<\/script>/gs, '').replaceAll(/<[^>]*>/g, ' ');
  return words.replaceAll(/&#(\d+);/g, (_all, code) => String.fromCodePoint(Number(code)));
}

/** All texts of a language. */
function wordsOf({ errors, ...plain }: PageTexts): string[] {
  return [...Object.values<string>(plain), ...Object.values(errors).flatMap(({ title, text }) => [title, text])];
}

function startThemed(pages: ConfigInput['pages']): Promise<World> {
  return startWorld({ config: (base) => ({ ...base, pages }) });
}

describe('the language', () => {
  let world: World;
  beforeAll(async () => void (world = await startWorld({}, { scope: 'manual' })));
  afterAll(() => world?.stop());

  test.each(languages)('"%s" is spoken on the page of an error, with the facts for the operator', async (lang) => {
    const page = await openIn(world.client(), `${lang}-XX, en;q=0.5`);
    const { errors, signIn: link, details } = pageTexts[lang];
    expect(page.text).toContain(`<html lang="${lang}" dir="ltr">`);
    expect(page.headers).toMatchObject({ 'content-language': lang, vary: 'accept-language' });
    for (const part of [errors.login_transaction_invalid.title, errors.login_transaction_invalid.text, link, details]) {
      expect(textOf(page)).toContain(part);
    }
    expect(page.text).toContain('<code>login_transaction_invalid</code>');
    expect(page.text).toContain('<span lang="en" dir="ltr">It was completed already, ');
  });

  test('is the default for a browser that wants another', async () => {
    expect((await openIn(world.client(), 'da')).headers['content-language']).toBe('en');
  });

  test('is that of every page, also of those that move on', async () => {
    const browser = world.client();
    const link = await browser.navigate('/bff/login', {
      initiator: 'https://elsewhere.test',
      headers: { 'accept-language': 'nl' },
      follow: false,
    });
    expect(textOf(link)).toContain(pageTexts.nl.signingIn);
    const callback = await leadToCallback(browser, '/bff/login?display=popup&login_hint=alice');
    const popup = await openIn(browser, 'es', callback.href);
    expect(textOf(popup)).toContain(pageTexts.es.popupTitle);
  });

  test('of problem details stays English, whatever the browser wants', async () => {
    const answer = await world.client().fetch('/api/orders', { headers: { 'accept-language': 'de' } });
    expect(answer.json()).toMatchObject({
      code: 'login_required',
      title: 'Sign-in required',
      detail: 'Sign in first.',
    });
    expect(answer.headers['content-language']).toBeUndefined();
  });

  test('of the reference of errors is English, for it is for developers', async () => {
    const page = await openIn(world.client(), 'de', '/bff/errors');
    expect(page.headers['content-language']).toBe('en');
    expect(textOf(page)).toContain('Errors and what to do');
  });

  test('reads nothing into a page from the header', async () => {
    const hostile = '"><script>alert(1)</script>, de;q=0.1';
    const page = await openIn(world.client(), hostile);
    expect(page.text).not.toContain('alert(1)');
    expect(page.headers['content-language']).toBe('de');
  });
});

describe('the texts of each language', () => {
  test.each(languages)('in "%s" are whole: none is empty, has loose ends or HTML, or was left in English', (lang) => {
    const english = new Set(wordsOf(pageTexts.en));
    const texts = wordsOf(pageTexts[lang]);
    expect(texts.filter((text) => text !== text.trim() || text.length < 2 || /[<>&"']|\.\.\.|  /.test(text))).toEqual(
      [],
    );
    const same = lang === 'en' ? [] : texts.filter((text) => english.has(text) && !['Code', 'Details'].includes(text));
    expect(same).toEqual([]);
    expect(Object.keys(pageTexts[lang].errors)).toEqual([...errorCodes, 'setup', 'sign_in_too_weak']);
  });

  test.each(languages)('in "%s" end sentences as sentences end, and titles without a full stop', (lang) => {
    for (const { title, text } of Object.values(pageTexts[lang].errors)) {
      expect(text).toMatch(/[.。]$/);
      expect(title).not.toMatch(/[.。!]$/);
    }
  });
});

describe('the look', () => {
  const png = Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
    'base64',
  );

  test('is the app’s: its name, its colour and its logo, which is written into the page', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sallyport-logo-'));
    try {
      const logoFile = join(folder, 'logo');
      await writeFile(logoFile, png);
      const world = await startThemed({ appName: 'Orders <&> Returns', accentColor: '#FFD400', logoFile });
      const page = await openIn(world.client(), 'en');
      expect(page.text).toContain('<title>This sign-in cannot be completed · Orders &#60;&#38;&#62; Returns</title>');
      expect(page.text).toContain(`<header><img src="data:image/png;base64,${png.toString('base64')}" alt="">`);
      expect(page.text).toContain('--accent:#FFD400;--on-accent:#000');
      expect(page.headers['content-security-policy']).toContain("img-src 'self' data:;");
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('allows no data: image where there is no logo', async () => {
    const world = await startThemed({});
    const policy = String((await openIn(world.client(), 'en')).headers['content-security-policy']);
    expect(policy).toContain("img-src 'self';");
    expect(policy).not.toContain('unsafe');
  });

  test('has the operator’s texts, as text', async () => {
    const world = await startThemed({
      language: 'pl',
      texts: {
        en: { errors: { login_transaction_invalid: { text: 'Call <b>1234</b> & ask.' } } },
        pl: { signIn: 'Zaloguj się', errors: { login_transaction_invalid: { title: 'Nie udało się zalogować' } } },
      },
    });
    const english = await openIn(world.client(), 'en');
    expect(english.text).toContain(
      '<h1>This sign-in cannot be completed</h1><p>Call &#60;b&#62;1234&#60;/b&#62; &#38; ask.</p>',
    );
    for (const wanted of ['pl-PL', 'da']) {
      const polish = await openIn(world.client(), wanted);
      expect(polish.headers['content-language']).toBe('pl');
      expect(textOf(polish)).toContain('Nie udało się zalogować');
      expect(textOf(polish)).toContain('Zaloguj się');
      // What it lacks.
      expect(textOf(polish)).toContain('Call <b>1234</b> & ask.');
    }
    expect(textOf(await openIn(world.client(), 'de'))).toContain(pageTexts.de.signIn);
  });

  test('takes what a further language lacks from the default one', async () => {
    const world = await startThemed({ language: 'fr', texts: { br: { signIn: 'Kevreañ' } } });
    const page = await openIn(world.client(), 'br');
    expect(textOf(page)).toContain('Kevreañ');
    expect(textOf(page)).toContain(pageTexts.fr.errors.login_transaction_invalid.title);
  });
});

test('a page after a sign-out greets in the person’s language, and offers to sign in again', async () => {
  const world = await startWorld({ config: (base) => ({ ...base, spa: { ...base.spa, requireLogin: true } }) });
  const browser = world.client();
  await signIn(browser);
  const { logoutUrl } = (await browser.fetch('/bff/session')).json() as { logoutUrl: string };
  const page = await browser.navigate(logoutUrl, {
    initiator: world.origin,
    headers: { 'accept-language': 'it' },
  });
  expect(textOf(page)).toContain(pageTexts.it.signedOutTitle);
  expect(page.text).toContain(`>${pageTexts.it.signIn}</a>`);
});

test('a session that has ended asks to sign in again, in the person’s words', async () => {
  const world = await startWorld({
    config: (base) => ({ ...base, api: base.api?.map((route) => ({ ...route, navigations: true })) ?? [] }),
  });
  const browser = world.client();
  await signIn(browser);
  world.provider.revokeGrants();
  world.api.rejectTokens(1);
  const page = await openIn(browser, 'de', '/api/report');
  expect([page.status, textOf(page).includes('Bitte melden Sie sich erneut an')]).toEqual([401, true]);
});

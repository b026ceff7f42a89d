/** Which language a page is in, by what the browser wants (RFC 9110 12.5.4) and what there is (RFC 4647 3.4). */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { pageTexts } from '../../src/config/page-texts.ts';
import { chooseLanguage, directionOf } from '../../src/http/pages/language.ts';

const own = Object.keys(pageTexts);
const otherwise = 'en';

describe('of the languages that there are, the page is in', () => {
  const cases: ReadonlyArray<readonly [story: string, header: string | undefined, chosen: string]> = [
    ['the default where the browser says nothing', undefined, 'en'],
    ['the default where it says something empty', '', 'en'],
    ['the only one', 'de', 'de'],
    ['the first', 'fr, de', 'fr'],
    ['the one that weighs most, wherever it stands', 'fr;q=0.3, nl;q=0.8, de;q=0.5', 'nl'],
    ['the first of the same weight', 'it;q=0.5, es;q=0.5', 'it'],
    ['one without a weight before those with', 'fr;q=0.9, ja', 'ja'],
    ['none with the weight 0', 'de;q=0, fr;q=0.1', 'fr'],
    ['the default if all have the weight 0', 'de;q=0, fr;q=0.000', 'en'],
    ['the language of a region', 'de-AT', 'de'],
    ['the language of a script and a region', 'ja-Jpan-JP', 'ja'],
    ['a region’s before the next one', 'pt-BR, fr', 'pt'],
    ['whatever the case', 'DE-at', 'de'],
    ['one of a later range if the first is unknown', 'da, nb;q=0.9, nl;q=0.2', 'nl'],
    ['the default for any', '*', 'en'],
    ['a known one before any', '*;q=0.1, es;q=0.5', 'es'],
    ['the default for an unknown one', 'da', 'en'],
    ['what a browser sends', 'fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5', 'fr'],
    ['not one whose name only begins alike', 'den', 'en'],
    ['what can be read of a broken header', ';;q=,,de-;q=1', 'de'],
    ['not a name that every object has', '__proto__, constructor, toString', 'en'],
  ];

  test.each(cases)('%s (%s)', (_story, header, chosen) => {
    expect(chooseLanguage(header, own, otherwise)).toBe(chosen);
  });
});

test('a language that is there for one region only serves the others, too, but its own name comes first', () => {
  const available = ['en', 'zh-Hant', 'zh-Hans-CN', 'pt', 'pt-BR'];
  expect(chooseLanguage('zh', available, 'en')).toBe('zh-Hant');
  expect(chooseLanguage('zh-hans', available, 'en')).toBe('zh-Hans-CN');
  expect(chooseLanguage('pt', available, 'en')).toBe('pt');
  expect(chooseLanguage('pt-br', available, 'en')).toBe('pt-BR');
});

test('whatever comes, the choice is one of them', () => {
  const tags = fc.constantFrom(...own, 'de-AT', 'xx', '*', '-', '', '__proto__', 'a'.repeat(99));
  const header = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc
      .array(fc.tuple(tags, fc.constantFrom('', ';q=1', ';q=0', ';q=2', ';q=x', ';q="', ';;', ' ; q = 0.5')), {
        maxLength: 20,
      })
      .map((parts) => parts.map((part) => part.join('')).join(',')),
  );
  fc.assert(
    fc.property(header, (text) => {
      expect(own).toContain(chooseLanguage(text, own, otherwise));
    }),
  );
});

test('a header as long as Node takes costs little', () => {
  const begun = performance.now();
  for (const part of ['xx;q=0.5,', ';', ',', '"', 'x-', 'q=;']) {
    chooseLanguage(part.repeat(32_768 / part.length), own, otherwise);
  }
  expect(performance.now() - begun).toBeLessThan(1000);
});

test.each([
  ['ar', 'rtl'],
  ['he-IL', 'rtl'],
  ['de', 'ltr'],
  ['ja', 'ltr'],
])('%s runs %s', (tag, direction) => expect(directionOf(tag)).toBe(direction));

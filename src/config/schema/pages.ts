/** The keys of the pages that Sallyport shows itself: errors, signed out, the end of a login in a popup. */
import { z } from 'zod';
import { text } from '../kinds.ts';
import { defaultLanguage, pageTexts, type PageTexts, type PlainTexts } from '../page-texts.ts';

/** Short enough for a heading; no line ends, and none of the characters that turn the direction of what follows. */
const words = text
  .max(500, 'must have at most 500 characters')
  .regex(/^[^\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]*$/u, 'must be one line of text');

const { errors, ...plain } = pageTexts[defaultLanguage];

const errorTexts = z.strictObject({ title: words.optional(), text: words.optional() });

/** Any of the texts of a language. */
const texts = z.strictObject({
  ...each(Object.keys(plain) as Array<keyof PlainTexts>, words.optional()),
  errors: z
    .strictObject(each(Object.keys(errors) as Array<keyof PageTexts['errors']>, errorTexts.optional()))
    .optional(),
});

function each<Key extends string, Schema>(keys: readonly Key[], schema: Schema): Record<Key, Schema> {
  return Object.fromEntries(keys.map((key) => [key, schema])) as Record<Key, Schema>;
}

/** A language as BCP 47 writes it (RFC 5646 2.1.1). */
const languageTag = z
  .string('must be a language such as "de" or "pt-BR"')
  .refine(isLanguageTag, 'must be a language such as "de" or "pt-BR"');

function isLanguageTag(tag: string): boolean {
  try {
    return Intl.getCanonicalLocales(tag)[0] === tag;
  } catch {
    return false;
  }
}

export const pages = z
  .strictObject({
    appName: words
      .max(60, 'must have at most 60 characters')
      .optional()
      .meta({ description: 'The name of the app, at the head and in the title of each page. Everyone can read it.' }),
    accentColor: text
      .regex(/^#[0-9a-f]{6}$/i, 'must be a colour such as "#1f5eff"')
      .default('#1f5eff')
      .meta({
        description:
          'The colour of buttons, as six hexadecimal digits. The text on it is black or white, whichever can be read better.',
      }),
    logoFile: text.optional().meta({
      description:
        'An SVG, PNG, JPEG or WebP image of at most 32,768 bytes. It is written into each page, because the pages load ' +
        'nothing, and read at start-up.',
    }),
    language: languageTag.default(defaultLanguage).meta({
      description:
        'The language of the pages for browsers that want none of those that there are: `de`, `en`, `es`, `fr`, `it`, `ja`, ' +
        '`nl`, `pt`, and those of `pages.texts`.',
    }),
    texts: z
      .record(languageTag, texts)
      .default({})
      .meta({
        description:
          'Texts to replace, or of further languages, by language ([names](pages.md#texts)). What a further language lacks ' +
          'is taken from `pages.language`. They are shown as they are: no HTML.',
      }),
  })
  .prefault({});

/** The languages of the pages that Sallyport shows itself. `pages.texts` of the configuration replaces texts, and adds languages. */
import { de } from './page-texts/de.ts';
import { en } from './page-texts/en.ts';
import { es } from './page-texts/es.ts';
import { fr } from './page-texts/fr.ts';
import { it } from './page-texts/it.ts';
import { ja } from './page-texts/ja.ts';
import { nl } from './page-texts/nl.ts';
import { pt } from './page-texts/pt.ts';
import type { PageTexts } from './page-texts/texts.ts';

export type { ErrorTexts, PageTexts, PlainTexts } from './page-texts/texts.ts';

export type Language = 'de' | 'en' | 'es' | 'fr' | 'it' | 'ja' | 'nl' | 'pt';

export const pageTexts: Readonly<Record<Language, PageTexts>> = { de, en, es, fr, it, ja, nl, pt };

export const defaultLanguage = 'en' satisfies Language;

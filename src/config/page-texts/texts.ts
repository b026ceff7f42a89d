/**
 * The words of the pages that Sallyport shows itself. One type holds every text, so that a language in which one is missing
 * does not compile.
 */
import type { ErrorCode, PageWording } from '../../http/errors.ts';

/** What a page says of an error. The details that belong to one case alone follow in English, for the operator. */
export interface ErrorTexts {
  readonly title: string;
  readonly text: string;
}

/** Texts that stand by themselves. */
export interface PlainTexts {
  /** Links and buttons. */
  readonly signIn: string;
  readonly goToApp: string;
  readonly continue: string;
  readonly closeWindow: string;
  readonly whatDoesThisMean: string;
  /** Titles of pages that move on by themselves, and what stands on them. */
  readonly signingIn: string;
  readonly signedIn: string;
  readonly signingOut: string;
  readonly oneMoment: string;
  readonly openingApp: string;
  /** After a sign-out, of an app that nobody sees without a login. */
  readonly signedOutTitle: string;
  readonly signedOutText: string;
  /** In a frame of the provider's sign-out page. */
  readonly signedOut: string;
  /** In a popup, after a login. */
  readonly popupTitle: string;
  readonly popupText: string;
  /** What stands before the facts that an operator asks for. */
  readonly details: string;
  readonly code: string;
  readonly request: string;
}

export interface PageTexts extends PlainTexts {
  readonly errors: Readonly<Record<ErrorCode | PageWording, ErrorTexts>>;
}

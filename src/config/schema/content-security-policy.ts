/**
 * What can be added to the SPA's Content-Security-Policy (CSP 3): by directive, a list of sources. A slip in a policy is
 * ignored by browsers or lets everything through, so each source is checked here, and said what is wrong with it.
 */
import { z } from 'zod';

/** Directives whose values are sources. */
const sourceDirectives = words(`
  default-src script-src script-src-elem script-src-attr style-src style-src-elem style-src-attr img-src font-src
  connect-src media-src object-src frame-src child-src worker-src manifest-src base-uri form-action frame-ancestors
`);
/** Directives whose values are other words. */
const otherDirectives = words('sandbox report-uri report-to trusted-types require-trusted-types-for');
/** Directives without a value. */
const switches = ['upgrade-insecure-requests'];

const directives = [...sourceDirectives, ...otherDirectives, ...switches];

/** The words that have a meaning in quotation marks only (CSP 3 2.3.1). */
const keywords = words(`
  self none unsafe-inline unsafe-eval wasm-unsafe-eval strict-dynamic unsafe-hashes report-sample
  inline-speculation-rules
`);

const scheme = /^[a-z][a-z0-9+.-]*:$/i;
const host =
  /^(?:[a-z][a-z0-9+.-]*:\/\/)?(?:\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::(?:\d+|\*))?(?:\/[^\s?#]*)?$/i;
const hashed = /^'sha(?:256|384|512)-[A-Za-z0-9+/_-]+={0,2}'$/;

/** Sources to add, by directive. */
export const cspAdditions = z
  .record(z.string(), z.array(z.string('must be a source, e.g. "https://maps.example.com"')))
  .superRefine((additions, context) => {
    for (const [directive, values] of Object.entries(additions)) {
      const reason = faultOfDirective(directive, values);
      if (reason !== undefined) context.addIssue({ code: 'custom', path: [directive], message: reason });
      for (const [index, value] of values.entries()) {
        const message = faultOfValue(directive, value);
        if (message !== undefined) context.addIssue({ code: 'custom', path: [directive, index], message });
      }
    }
  });

function faultOfDirective(directive: string, values: readonly string[]): string | undefined {
  if (!directives.includes(directive)) return `is no directive; those are ${directives.join(', ')}`;
  if (switches.includes(directive)) return values.length === 0 ? undefined : 'takes no value; leave the list empty';
  if (values.length === 0 && directive !== 'sandbox') return 'names no source; remove it, or name one';
  return values.includes("'none'") && values.length > 1 ? `must not name 'none' beside others` : undefined;
}

function faultOfValue(directive: string, value: string): string | undefined {
  if (!/^[\x21-\x7e]+$/.test(value) || /[;,]/.test(value)) {
    return 'must be one source, without spaces, "," and ";": write several as several';
  }
  if (!sourceDirectives.includes(directive)) return undefined;
  if (/^'?nonce-/i.test(value)) return 'is a nonce that never changes, which protects nothing; use spa.nonce';
  const word = value.replaceAll("'", '').toLowerCase();
  if (keywords.includes(word))
    return value === `'${word}'` ? undefined : `must be written '${word}', in quotation marks`;
  if (/^'?sha\d+-/i.test(value))
    return hashed.test(value) ? undefined : "must be a hash such as 'sha256-…', in quotation marks";
  if (value.includes("'")) return `is no keyword; those are ${keywords.map((keyword) => `'${keyword}'`).join(', ')}`;
  return scheme.test(value) || host.test(value)
    ? undefined
    : "must be a source such as https://maps.example.com, *.example.com, wss: or 'self'; without a query";
}

function words(list: string): string[] {
  return list.trim().split(/\s+/);
}

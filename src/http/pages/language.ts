/** Which language a page is in: what the browser wants (RFC 9110 12.5.4), by lookup among those that there are (RFC 4647 3.4). */
import { parseAccept } from 'hono/utils/accept';

/**
 * @param header `Accept-Language`, as it came
 * @param available tags in canonical form
 * @returns one of `available`, or `otherwise` where the browser wants none of them
 */
export function chooseLanguage(header: string | undefined, available: readonly string[], otherwise: string): string {
  const ranges = parseAccept(header ?? '').filter(({ q }) => q > 0);
  for (const { type } of ranges) {
    // It stands for any language, and the default is as good as any.
    if (type === '*') return otherwise;
    const found = lookUp(type.toLowerCase(), available);
    if (found !== undefined) return found;
  }
  return otherwise;
}

/** The tag that is nearest to a range: the same, a shorter one (`de` for `de-AT`), or a longer one (`pt-BR` for `pt`). */
function lookUp(range: string, available: readonly string[]): string | undefined {
  for (let wanted = range; wanted !== ''; wanted = wanted.slice(0, Math.max(0, wanted.lastIndexOf('-')))) {
    const found = available.find((tag) => tag.toLowerCase() === wanted);
    if (found !== undefined) return found;
  }
  return available.find((tag) => tag.toLowerCase().startsWith(`${range}-`));
}

/** Languages whose script runs from right to left. */
const rightToLeft = new Set(['ar', 'ckb', 'dv', 'fa', 'he', 'ps', 'sd', 'ug', 'ur', 'yi']);

export function directionOf(language: string): 'ltr' | 'rtl' {
  return rightToLeft.has(new Intl.Locale(language).language) ? 'rtl' : 'ltr';
}

/** Pages of other sites that lead to the app: by a link, and by loading it ahead. */

/** A page with speculation rules: Chromium is to load the address at once. */
export function aheadOf(action: 'prefetch' | 'prerender', address: string): string {
  const rules = { [action]: [{ source: 'list', urls: [address], eagerness: 'immediate' }] };
  return `<!doctype html><title>Evil</title><script type="speculationrules">${JSON.stringify(rules)}</script>`;
}

export function link(address: string): string {
  return `<!doctype html><title>Elsewhere</title><a href="${address}">Look at this</a>`;
}

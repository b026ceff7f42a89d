/**
 * A query parameter, without value or with a fragment as its value, by which Sallyport knows an address that it sent the
 * browser to, so that it doesn't do so again. It carries no trust: anybody can write it. The rest of the query stays letter
 * by letter.
 */
export interface AddressMark {
  readonly name: string;
  /** @param target an address, or a path, without fragment */
  readonly isOn: (target: string) => boolean;
  readonly add: (target: string) => string;
  readonly remove: (target: string) => string;
  /** With its "#"; '' without one. */
  readonly fragmentOn: (target: string) => string;
}

/** @param name letters and "_" only */
export function createAddressMark(name: string): AddressMark {
  const pattern = new RegExp(`([?&])${name}(?:=%23[^&]*)?(&|$)`);
  return {
    name,
    isOn: (target) => pattern.test(target),
    add: (target) => `${target}${target.includes('?') ? '&' : '?'}${name}`,
    remove: (target) => target.replace(pattern, (_, before: string, after: string) => (after === '' ? '' : before)),
    fragmentOn: (target) => new URLSearchParams(target.replace(/^[^?]*/, '')).get(name) ?? '',
  };
}

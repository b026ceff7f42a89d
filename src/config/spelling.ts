/** What was probably meant by a name that is not known: an option, a variable, a command. */
import { configKeys } from './reference.ts';

/** The known name that is nearest. */
export function nearestOf(name: string, known: readonly string[]): string {
  return known.toSorted((a, b) => distance(name, a) - distance(name, b))[0] ?? '';
}

/** Levenshtein's edit distance. */
export function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substitution));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** The key that an unknown one stands for: one beside it that is spelt alike, or one of its name in another place. */
export function keyMeantBy(unknown: readonly string[]): string | undefined {
  const name = fold(unknown.at(-1) ?? '');
  const parent = unknown.slice(0, -1).map((segment) => (/^\d+$/.test(segment) ? '[]' : segment));
  const paths = configKeys().map(({ path }) => path.replaceAll('[]', '.[]').split('.'));
  const beside = paths
    .filter((path) => path.length > parent.length && parent.every((segment, index) => path[index] === segment))
    .map((path) => path.slice(0, parent.length + 1));
  const nearest = beside.toSorted((a, b) => distanceTo(a) - distanceTo(b))[0] ?? [];

  if (distanceTo(nearest) <= 1) return written(nearest);
  const elsewhere = paths.find((path) => [fold(path.at(-1) ?? ''), fold(path.join(''))].includes(name));
  if (elsewhere !== undefined) return written(elsewhere);
  if (distanceTo(nearest) <= name.length / 3) return written(nearest);
  const longer = beside.find((path) => name.length > 2 && fold(path.at(-1) ?? '').startsWith(name));
  return longer === undefined ? undefined : written(longer);

  function distanceTo(path: readonly string[]): number {
    return distance(name, fold(path.at(-1) ?? ''));
  }
}

/** Without what people write in one way or another: `client_id` and `clientId` are the same. */
function fold(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
}

function written(path: readonly string[]): string {
  return path.join('.').replaceAll('.[]', '[]');
}

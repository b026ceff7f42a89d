/** Paths that the servers behind us read in different ways. Each stands below a route's prefix. */
import { array, constantFrom, oneof, tuple, type Arbitrary } from 'fast-check';

/** What some server or other reads as `/admin` (or `/tasks/kiosk`), told by how it comes to that. */
export const spellings: ReadonlyArray<readonly [reader: string, paths: readonly string[]]> = [
  ['merges slashes', ['//admin', '///admin', '//admin/users', '//admin?x', '//%61dmin', '//tasks//kiosk']],
  [
    'cuts path parameters',
    [
      '/admin;x',
      '/admin;',
      '/admin;x=y/users',
      '/admin;x?y',
      '/;/admin',
      '/;x=y/admin',
      '/tasks;a=b/kiosk;c',
      '/admin%3b',
      '/admin%3Bx=y/users',
    ],
  ],
  [
    'cuts off a format, as Rails does',
    ['/admin.json', '/admin.', '/admin.json/users', '/ADMIN.html;x', '/tasks/kiosk.xml?x'],
  ],
  ['reads small letters and capitals as one', ['/ADMIN', '/Admin/users', '/%41dmin', '/Tasks/KIOSK']],
  [
    'decodes twice, or thrice',
    [
      '/%2561dmin',
      '/%252561dmin',
      '/%25%36%31dmin',
      '/%2%35%36%31dmin',
      '/admi%256e/users',
      '/tasks%252fkiosk',
      '/%252fadmin',
      '/admin%252fusers',
      '/admin%253bx',
    ],
  ],
  ['decodes what decoding makes', ['/%%36%31dmin', '/%%361dmin', '/%6%31dmin', '/admin%%33b']],
  ['decodes an end of the path', ['/admin%3f', '/admin%3Fx=y', '/admin%3f/users', '/admin%23x']],
  ['decodes such an end twice', ['/admin%253f', '/admin%2523x']],
  ['reads a backslash as a slash', ['/%5cadmin', '/admin%5cusers', '/tasks%5ckiosk', '/admin%255cusers', '/admin\\x']],
  ['decodes a slash', ['/%2fadmin', '/admin%2f', '/admin%2Fusers', '/tasks%2fkiosk', '/%2Fadmin']],
  ['stops at a NUL', ['/admin%00', '/admin%00.json', '/admin%2500']],
  [
    'drops spaces and control characters',
    [
      '/admin%20',
      '/%20admin',
      '/admin%20/users',
      '/admin%09',
      '/adm%0ain',
      '/admin%0d%0a',
      '/admin%7f',
      '/admin%C2%85',
      '/admin%C2%A0',
      '/admin%E3%80%80',
    ],
  ],
  [
    'normalises Unicode (NFKC)',
    [
      '/%EF%BC%A1dmin',
      '/%EF%BD%81dmin',
      '/%E2%93%90dmin',
      '/%F0%9D%90%9Admin',
      '/%C2%AAdmin',
      '/%EF%BC%8Fadmin',
      '/admin%EF%BC%8Fusers',
      '/admin%EF%BC%9Bx',
      '/admin%EF%BC%9F',
      '/admin%EF%BC%83x',
      '/admin%EF%BC%BCx',
      '/%25EF%25BC%25A1dmin',
    ],
  ],
  [
    'folds letters that only look alike, as Java’s and .NET’s do',
    ['/adm%C4%B1n', '/adm%C4%B0n', '/tasks/%E2%84%AAiosk', '/ta%C5%BFks/kiosk', '/TA%C5%BFKS/KIO%C5%BFK'],
  ],
  ['takes out dot segments', ['/./admin', '/x/../admin', '/x/..;/admin', '/%2e/admin', '/x/%2e%2e/admin']],
  [
    'takes out dot segments once more, after decoding once more',
    [
      '/%252e/admin',
      '/x/%252e%252e/admin',
      '/x/%25252e%25252e/admin',
      '/x%252f..%252fadmin',
      '/x/%%32%65%%32%65/admin',
    ],
  ],
  ['does several of it', ['//ADMIN;x', '/;/%2541dmin%20', '/%5C%EF%BC%A1DMIN%3b/x']],
];

const noise = oneof(
  { weight: 3, arbitrary: constantFrom('') },
  { weight: 1, arbitrary: constantFrom(...';|;x=y|%3b|%20|%09|%00|%3f|%23|%2f|%5c|/|//|/./|/;/'.split('|')) },
);
const segment = oneof(
  { weight: 3, arbitrary: tuple(...Array.from('admin', spelled)).map((letters) => letters.join('')) },
  { weight: 2, arbitrary: constantFrom('orders', 'users', 'Admins', 'administrator') },
  { weight: 1, arbitrary: constantFrom('..', '%2e%2e', '%252e', 'x') },
);
/** Paths of up to three segments, of which many are `/admin` to some server. */
export const generatedPath = array(tuple(noise, segment, noise), { minLength: 1, maxLength: 3 }).map((parts) =>
  parts.map(([before, name, after]) => `/${before}${name}${after}`).join(''),
);

/** One letter, as it is or in one of the spellings that some server undoes. */
function spelled(letter: string): Arbitrary<string> {
  const code = letter.charCodeAt(0);
  const hex = code.toString(16);
  const wide = encodeURIComponent(String.fromCharCode(code + 0xfee0));
  const [high, low] = Array.from(hex);
  // Dotless and dotted, and "i" to whoever folds letters one by one.
  const alike = letter === 'i' ? ['%C4%B1', '%C4%B0'] : [];
  return oneof(
    { weight: 20, arbitrary: constantFrom(letter, `%${hex}`) },
    { weight: 3, arbitrary: constantFrom(letter.toUpperCase(), `%25${hex}`, `%%3${high}${low}`, wide, ...alike) },
  );
}

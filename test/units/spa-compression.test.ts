/** Files of a build that brings no packed siblings are compressed when they are first asked for. */
import { randomBytes } from 'node:crypto';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { useSpaFolder } from '../support/spa-folder.ts';

const files = useSpaFolder();
const { put, spa, openFiles } = files;
const script = 'export const answer = 42;\n'.repeat(200);
const accepting = (coding: string) => ({ headers: { 'Accept-Encoding': coding } });

async function bytesOf(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer());
}

describe('a file without packed siblings', () => {
  test.each([
    ['gzip, deflate, br, zstd', 'br', brotliDecompressSync],
    ['gzip', 'gzip', gunzipSync],
    ['br;q=0.5, gzip', 'gzip', gunzipSync],
  ] as const)('for "%s" is sent as %s', async (accept, coding, unpack) => {
    await put('app.js', script);
    const response = await spa()('/app.js', accepting(accept));
    expect(response.headers.get('content-encoding')).toBe(coding);
    expect(response.headers.get('vary')).toBe('Accept-Encoding');
    expect(response.headers.get('content-type')).toContain('javascript');
    const bytes = await bytesOf(response);
    expect(Number(response.headers.get('content-length'))).toBe(bytes.length);
    expect(bytes.length).toBeLessThan(script.length / 2);
    expect(unpack(bytes).toString()).toBe(script);
    expect(openFiles()).toEqual([]);
  });

  test.each(['identity', '', 'zstd', 'br;q=0, gzip;q=0'])('for "%s" is sent as it is', async (accept) => {
    await put('app.js', script);
    const response = await spa()('/app.js', accepting(accept));
    expect([response.headers.get('content-encoding'), await response.text()]).toEqual([null, script]);
    expect(response.headers.get('vary')).toBe('Accept-Encoding');
  });

  test('has a validator for each coding, which a later request may show', async () => {
    await put('app.js', script);
    const get = spa();
    const etags = await Promise.all(
      ['br', 'gzip', 'identity'].map(async (coding) =>
        (await get('/app.js', { method: 'HEAD', ...accepting(coding) })).headers.get('etag'),
      ),
    );
    expect(new Set(etags).size).toBe(3);
    const headers = { 'Accept-Encoding': 'br', 'If-None-Match': etags[0] ?? '' };
    expect((await get('/app.js', { headers })).status).toBe(304);
    expect((await get('/app.js', { headers: { ...headers, 'Accept-Encoding': 'gzip' } })).status).toBe(200);
  });

  test('is sent in parts, and its head alone', async () => {
    await put('app.js', script);
    const get = spa();
    const whole = await bytesOf(await get('/app.js', accepting('br')));
    const part = await get('/app.js', { headers: { 'Accept-Encoding': 'br', Range: 'bytes=10-19' } });
    expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes 10-19/${whole.length}`]);
    expect(await bytesOf(part)).toEqual(whole.subarray(10, 20));
    const head = await get('/app.js', { method: 'HEAD', ...accepting('br') });
    expect([head.headers.get('content-length'), await head.text()]).toEqual([String(whole.length), '']);
  });

  test('is compressed once for all who ask at the same time', async () => {
    await put('app.js', script);
    const get = spa();
    const answers = await Promise.all(Array.from({ length: 20 }, () => get('/app.js', accepting('br'))));
    const bodies = await Promise.all(answers.map(bytesOf));
    expect(new Set(bodies.map((bytes) => bytes.toString('hex'))).size).toBe(1);
    expect(openFiles()).toEqual([]);
  });

  test('is compressed anew after a deployment', async () => {
    await put('app.js', script);
    const get = spa();
    await get('/app.js', accepting('br'));
    const next = 'export const answer = 43;\n'.repeat(200);
    await put('app.js', next);
    expect(brotliDecompressSync(await bytesOf(await get('/app.js', accepting('br')))).toString()).toBe(next);
  });

  test('is the document, too, whose policy stays the same', async () => {
    const html = `<!doctype html><script>start()</script>${'<p>text</p>'.repeat(200)}`;
    await put('index.html', html);
    const get = spa();
    const [packed, plain] = [await get('/', accepting('br')), await get('/', accepting('identity'))];
    expect(brotliDecompressSync(await bytesOf(packed)).toString()).toBe(html);
    expect(packed.headers.get('content-security-policy')).toBe(plain.headers.get('content-security-policy'));
    await plain.text();
  });
});

test.each([
  ['smaller than a packet', 'app.js', 'x'.repeat(1000), false],
  ['of a type that is compressed already', 'photo.jpg', 'x'.repeat(5000), false],
  ['larger than what is worth a thread', 'large.js', ' '.repeat(8 * 1024 * 1024 + 1), false],
])('a file %s is sent as it is', async (_story, path, content, negotiated) => {
  await put(path, content);
  const response = await spa()(`/${path}`, { method: 'HEAD', ...accepting('br') });
  expect(response.headers.get('content-encoding')).toBeNull();
  expect(response.headers.get('content-length')).toBe(String(content.length));
  expect(response.headers.has('vary')).toBe(negotiated);
});

function contentOf(index: number): string {
  return `export const file = ${index};\n`.repeat(20_000);
}

test('a stranger who asks for all files at once gets some of them as they are, and the next one gets them compressed', async () => {
  const paths = Array.from({ length: 50 }, (_, index) => `/chunk-${index}.js`);
  for (const [index, path] of paths.entries()) await put(path.slice(1), contentOf(index));
  const get = spa();
  const read = async (path: string) => {
    const response = await get(path, accepting('br'));
    const bytes = await bytesOf(response);
    const isPacked = response.headers.get('content-encoding') === 'br';
    expect(response.headers.get('vary')).toBe('Accept-Encoding');
    expect((isPacked ? brotliDecompressSync(bytes) : bytes).toString()).toBe(contentOf(paths.indexOf(path)));
    return isPacked;
  };
  const packed = (await Promise.all(paths.map(read))).filter(Boolean).length;
  expect(packed).toBeGreaterThanOrEqual(34);
  expect(packed).toBeLessThan(50);
  expect(openFiles()).toEqual([]);
  for (const path of paths) expect(await read(path)).toBe(true);
});

test('a text that doesn’t become smaller is sent as it is', async () => {
  const random = randomBytes(5000).toString('latin1');
  await put('random.txt', Buffer.from(random, 'latin1'));
  const get = spa();
  for (let call = 0; call < 2; call += 1) {
    const response = await get('/random.txt', accepting('br'));
    expect(response.headers.get('content-encoding')).toBeNull();
    expect((await bytesOf(response)).toString('latin1')).toBe(random);
  }
});

test('packed siblings win, also where the client prefers a coding of which there is none', async () => {
  await put('app.js', script);
  await put('app.js.gz', 'packed by gzip');
  const get = spa();
  expect(await (await get('/app.js', accepting('br, gzip;q=0.1'))).text()).toBe('packed by gzip');
  expect(await (await get('/app.js', accepting('br'))).text()).toBe(script);
});

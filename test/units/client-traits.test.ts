/** What is kept of a browser and its address: words that a person recognises, and nothing that the client wrote itself. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeUserAgent, networkOf } from '../../src/http/client-traits.ts';

const webKit = 'AppleWebKit/537.36 (KHTML, like Gecko)';

describe('a browser is named by its product and its system:', () => {
  test.each([
    ['Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0', 'Firefox on Windows'],
    ['Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0', 'Firefox on Linux'],
    ['Mozilla/5.0 (Android 14; Mobile; rv:132.0) Gecko/132.0 Firefox/132.0', 'Firefox on Android'],
    [`Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) ${webKit} Chrome/131.0.0.0 Safari/537.36`, 'Chrome on macOS'],
    [`Mozilla/5.0 (Linux; Android 10; K) ${webKit} Chrome/131.0.0.0 Mobile Safari/537.36`, 'Chrome on Android'],
    [`Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) ${webKit} Chrome/131.0.0.0 Safari/537.36`, 'Chrome on ChromeOS'],
    [
      `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${webKit} Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0`,
      'Edge on Windows',
    ],
    [`Mozilla/5.0 (X11; Linux x86_64) ${webKit} Chrome/130.0.0.0 Safari/537.36 OPR/115.0.0.0`, 'Opera on Linux'],
    [
      `Mozilla/5.0 (Linux; Android 10; K) ${webKit} SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36`,
      'Samsung Internet on Android',
    ],
    [
      'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15',
      'Safari on macOS',
    ],
    [
      'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1',
      'Safari on iPhone',
    ],
    [
      'Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/131.0 Mobile/15E148 Safari/604.1',
      'Chrome on iPad',
    ],
    [
      'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/132.0 Mobile/15E148 Safari/605.1.15',
      'Firefox on iPhone',
    ],
    ['Lynx/2.9 (Windows)', 'a browser on Windows'],
    ['Firefox/1.0', 'Firefox'],
    ['curl/8.5.0', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('%s', (userAgent, described) => {
    expect(describeUserAgent(userAgent)).toBe(described);
  });

  test('never in words of the client, whatever it sends', () => {
    const words = /^(?:(?:Edge|Opera|Samsung Internet|Firefox|Chrome|Safari|a browser)(?: on [A-Za-z]+)?)$/;
    const text = fc.array(fc.oneof(fc.string(), fc.constantFrom('Firefox/', 'Windows', ' Version/', ' Safari/', '\n')));
    fc.assert(
      fc.property(text, (parts) => {
        expect(describeUserAgent(parts.join('')) ?? 'Chrome').toMatch(words);
      }),
    );
  });

  test('in no time, however long its header', () => {
    const begun = performance.now();
    describeUserAgent('Version/'.repeat(100_000));
    expect(performance.now() - begun).toBeLessThan(50);
  });
});

describe('of an address, the network is kept:', () => {
  test.each([
    ['203.0.113.77', '203.0.113.0/24'],
    ['127.0.0.1', '127.0.0.0/24'],
    ['2001:db8:12:3456:789a:bcde:f012:3456', '2001:db8:12::/48'],
    ['2001:DB8:0012::1', '2001:db8:12::/48'],
    ['2001:db8::1', '2001:db8::/48'],
    ['2001::1', '2001::/48'],
    ['2001:0:5::1', '2001:0:5::/48'],
    ['::1', '::/48'],
    ['1::2:3:4:5:6:7', '1:0:2::/48'],
    ['fe80::1%eth0', 'fe80::/48'],
    ['', undefined],
    ['unknown', undefined],
    ['203.0.113.77:1234', undefined],
  ])('%s', (address, network) => {
    expect(networkOf(address)).toBe(network);
  });

  test('of any IPv6 address an address in CIDR notation whose first 48 bits are those of it', () => {
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        const network = networkOf(address) ?? '';
        expect(network.endsWith('::/48')).toBe(true);
        expect(groupsOf(network.slice(0, -'/48'.length))).toEqual([...groupsOf(address).slice(0, 3), 0, 0, 0, 0, 0]);
      }),
    );
  });
});

/** The eight numbers of an IPv6 address, by its text alone. */
function groupsOf(address: string): number[] {
  const dotted = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address)?.slice(1).map(Number) ?? [];
  const [a = 0, b = 0, c = 0, d = 0] = dotted;
  const hex = dotted.length === 0 ? address : address.replace(/[\d.]+$/, `${toHex(a, b)}:${toHex(c, d)}`);
  const [head = '', tail] = hex.split('::');
  const [before = [], after = []] = [head, tail ?? ''].map((part) => part.split(':').filter(Boolean));
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  return [...before, ...zeros, ...after].map((part) => Number.parseInt(part, 16));
}

function toHex(high: number, low: number): string {
  return (high * 256 + low).toString(16);
}

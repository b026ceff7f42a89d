/** Marks on addresses: what is taken off again leaves the address as it was. */
import { assert, constantFrom, property, string } from 'fast-check';
import { expect, test } from 'vitest';
import { createAddressMark } from '../../src/http/address-mark.ts';

const one = createAddressMark('sallyport_one');
const other = createAddressMark('sallyport_other');

test.each([
  ['/', '/?sallyport_one'],
  ['/a?', '/a?&sallyport_one'],
  ['/a&b', '/a&b?sallyport_one'],
  ['/a?x=%7E&y', '/a?x=%7E&y&sallyport_one'],
])('%s is marked as %s', (target, marked) => {
  expect([one.add(target), one.isOn(marked), one.isOn(target), one.remove(marked)]).toEqual([
    marked,
    true,
    false,
    target,
  ]);
});

test.each(['/?sallyport_one=1', '/?sallyport_ones', '/?x=sallyport_one', '/sallyport_one'])(
  '%s bears no mark',
  (target) => {
    expect([one.isOn(target), one.remove(target)]).toEqual([false, target]);
  },
);

test.each([
  ['/a?sallyport_one=%23tab&b', '#tab', '/a?b'],
  ['/?x&sallyport_one=%23%2Forders%3Fa%3D%2520%2B', '#/orders?a=%20+', '/?x'],
  ['/?sallyport_one', '', '/'],
  ['/?sallyport_other=%23tab', '', '/?sallyport_other=%23tab'],
])('%s bears the fragment %j', (target, fragment, bare) => {
  expect([one.fragmentOn(target), one.remove(target)]).toEqual([fragment, bare]);
});

test('two marks come off in any order, and leave any address as it was', () => {
  const text = string({ unit: constantFrom('/', '?', '&', '=', 'a', '%26', 'sallyport_', 'one') });
  assert(
    property(text, (target) => {
      if (one.isOn(target) || other.isOn(target)) return;
      const marked = other.add(one.add(target));
      expect(one.remove(other.remove(marked))).toBe(target);
      expect(other.remove(one.remove(marked))).toBe(target);
    }),
  );
});

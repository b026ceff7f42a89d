/** What `sallyport/browser` exports, frozen: apps depend on it. */
import { expect, expectTypeOf, test } from 'vitest';
import * as browser from '../../../src/browser/index.ts';
import type { LoginOptions, Sallyport, SallyportOptions, SallyportProblem } from '../../../src/browser/index.ts';

const functions = ['apiFetch', 'current', 'login', 'logout', 'refresh', 'secondsLeft', 'session', 'subscribe'] as const;

test('the exported values', () => {
  expect(Object.keys(browser).toSorted()).toEqual([...functions, 'createSallyport'].toSorted());
});

test('an instance has the functions of the module, and making one does nothing', () => {
  // Nothing of a browser exists here.
  const instance = browser.createSallyport({ basePath: '/app/bff' });
  expect(Object.keys(instance).toSorted()).toEqual([...functions]);
  expect([instance.current(), instance.secondsLeft()]).toEqual([undefined, undefined]);
});

test('the members of the exported types', () => {
  expectTypeOf<keyof Sallyport>().toEqualTypeOf<(typeof functions)[number]>();
  expectTypeOf<keyof SallyportOptions>().toEqualTypeOf<'basePath' | 'onLoginRequired' | 'onStepUpRequired'>();
  expectTypeOf<keyof LoginOptions>().toEqualTypeOf<
    'acrValues' | 'authorizationDetails' | 'loginHint' | 'maxAge' | 'popup' | 'prompt' | 'returnTo' | 'signal' | 'url'
  >();
  expectTypeOf<keyof SallyportProblem>().toEqualTypeOf<
    'acrValues' | 'maxAge' | 'code' | 'detail' | 'instance' | 'loginUrl' | 'status' | 'title' | 'type'
  >();
  expectTypeOf<Sallyport['apiFetch']>().toEqualTypeOf<typeof fetch>();
});

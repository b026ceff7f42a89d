/** What a login remembers in its `state`, also between instances of different versions. */
import { expect, test } from 'vitest';
import { readState, writeState, type LoginIntent } from '../../src/session/login-state.ts';
import { pack } from '../../src/session/packing.ts';
import { createSealer } from '../../src/session/seal.ts';

const sealer = createSealer(['a secret that only tests know, of 40 signs'], 'login state');

test.each<[string, Partial<LoginIntent>]>([
  ['no popup', { popup: undefined }],
  ['a popup', { popup: '' }],
  ['a popup of a page with a name', { popup: 'tab-1' }],
  ['a kind of sign-in', { parameters: { acr_values: 'gold' }, acrValues: 'gold' }],
])('%s comes back', async (_story, part) => {
  const intent: LoginIntent = { returnTo: '/', parameters: {}, restarted: false, popup: undefined, ...part };
  const state = await writeState('id', intent, sealer);
  expect(readState(state, sealer)?.intent).toEqual({ acrValues: undefined, ...intent });
});

test('a popup that an earlier version began is one', async () => {
  const sealed = await sealer.seal(pack({ fields: ['id', '/', {}, false, true], tokens: [] }));
  expect(readState(`id.${sealed}`, sealer)?.intent.popup).toBe('');
  const none = await sealer.seal(pack({ fields: ['id', '/', {}, false, false], tokens: [] }));
  expect(readState(`id.${none}`, sealer)?.intent.popup).toBeUndefined();
});

/** How many questions wait for a policy server at a time, and that each place is given back. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPolicyServer } from '../../src/upstream/policy-server.ts';
import { startPolicyAgent, type PolicyAgent } from '../support/policy-agent.ts';

let agent: PolicyAgent;
beforeAll(async () => {
  agent = await startPolicyAgent();
});
afterAll(() => agent.close());

test('1,024 questions wait at a time; more are refused at once, and the places are free after that', async () => {
  const server = createPolicyServer(new URL(agent.url), 0.5);
  const ask = () =>
    server.ask('/v1/data/x', '{"input":{}}').then(
      () => 'answered',
      (error: unknown) => (error instanceof Error ? error.message : ''),
    );
  agent.handle(() => undefined);
  const outcomes = await Promise.all(Array.from({ length: 1030 }, ask));
  const counted = Map.groupBy(outcomes, (outcome) => outcome);
  expect([...counted].map(([outcome, each]) => [outcome, each.length])).toEqual([
    ['The policy server did not answer within 0.5 s.', 1024],
    ['1024 calls wait for the policy server already.', 6],
  ]);
  agent.decide(true);
  expect(await ask()).toBe('answered');
  await server.close();
});

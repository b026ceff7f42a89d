/**
 * A model of the store, in which nothing expires and a lease is either over or not. It says what each operation does and
 * answers, so that operations of any order can be compared with those of a real store.
 */
import * as fc from 'fast-check';
import type { SessionEnd } from '../../src/events.ts';
import type { Claim, ListedSession, Revocation, SessionRecord, Store, StoreMessage } from '../../src/store/store.ts';

interface Operations {
  readonly begin: { readonly session: string; readonly names: readonly string[]; readonly content?: string };
  readonly look: { readonly session: string; readonly names: readonly string[] };
  readonly claim: Claim & { readonly session: string };
  /** A claim whose lease is over when the next operation comes. */
  readonly lapse: Claim & { readonly session: string };
  readonly release: Claim & { readonly session: string; readonly interrupted: boolean };
  readonly advance: { readonly session: string; readonly generation: number; readonly content: string };
  readonly confirm: { readonly session: string; readonly generation: number };
  readonly touch: { readonly session: string };
  readonly end: { readonly session: string; readonly reason: SessionEnd };
  readonly revoke: Revocation & { readonly name: string };
  readonly list: { readonly name: string };
  readonly useOnce: { readonly name: string };
}

export type Operation = { [Type in keyof Operations]: { readonly type: Type } & Operations[Type] }[keyof Operations];

/** Operations of one owner, on sessions and names that the others use as well. */
export function operationsOf(owner: string, { lapses }: { lapses: boolean }): fc.Arbitrary<Operation> {
  const session = fc.constantFrom('session:a', 'session:b');
  const name = fc.constantFrom('name:x', 'name:y');
  const names = fc.subarray(['name:x', 'name:y']);
  const generation = fc.nat(3);
  const next = fc.integer({ min: 1, max: 4 });
  const content = fc.constantFrom(`sealed by ${owner}`, 'sealed');
  const reason = fc.constantFrom<SessionEnd>('logout', 'backchannel');
  const claim = { session, generation, owner: fc.constant(owner) };
  return fc.oneof(
    typed('begin', fc.record({ session, names, content }, { requiredKeys: ['session', 'names'] })),
    typed('look', fc.record({ session, names })),
    { arbitrary: typed('claim', fc.record(claim)), weight: 3 },
    { arbitrary: typed('lapse', fc.record(claim)), weight: lapses ? 2 : 0 },
    { arbitrary: typed('release', fc.record({ ...claim, interrupted: fc.boolean() })), weight: 2 },
    { arbitrary: typed('advance', fc.record({ session, generation: next, content })), weight: 3 },
    typed('confirm', fc.record({ session, generation })),
    typed('touch', fc.record({ session })),
    typed('end', fc.record({ session, reason })),
    typed('revoke', fc.record({ name, before: fc.nat(3), reason })),
    typed('list', fc.record({ name })),
    typed('useOnce', fc.record({ name })),
  );
}

function typed<Type extends keyof Operations>(
  type: Type,
  operation: fc.Arbitrary<Operations[Type]>,
): fc.Arbitrary<Operation> {
  return operation.map((fields) => ({ type, ...fields }) as Operation);
}

const minute = 60;
const minuteMs = 60_000;

const runs: { readonly [Type in keyof Operations]: (store: Store, operation: Operations[Type]) => Promise<unknown> } = {
  begin: async (store, { session, names, content }) =>
    store.begin(session, { names, details: detailsOf(session), ...(content === undefined ? {} : { content }) }, minute),
  look: async (store, { session, names }) => {
    const { record, revocations } = await store.look(session, names);
    const found = revocations.map(({ before, reason }) => ({ before, reason }));
    return { record: withoutAges(record), revocations: sorted(found) };
  },
  claim: async (store, operation) => claim(store, operation, minuteMs),
  lapse: async (store, operation) => {
    const result = await claim(store, operation, 1);
    await new Promise((resolve) => setTimeout(resolve, 4));
    return result;
  },
  release: async (store, { session, generation, owner, interrupted }) =>
    store.release(session, { generation, owner }, interrupted),
  advance: async (store, { session, generation, content }) => {
    const result = await store.advance(session, { generation, content }, minute);
    return result.advanced ? result : { advanced: false, record: withoutAges(result.record) };
  },
  confirm: async (store, { session, generation }) => store.confirm(session, generation, minuteMs),
  touch: async (store, { session }) => store.touch(session, minute),
  end: async (store, { session, reason }) => store.end(session, reason, minute),
  revoke: async (store, { name, before, reason }) => store.revoke(name, { before, reason }, minute),
  list: async (store, { name }) => sorted((await store.list(name, 100)).map(withoutAge)),
  useOnce: async (store, { name }) => store.useOnce(name, minute),
};

/** Runs an operation. @returns its answer, in which an age is only there or not */
export async function run(store: Store, operation: Operation): Promise<unknown> {
  return (runs[operation.type] as (store: Store, operation: Operation) => Promise<unknown>)(store, operation);
}

async function claim(store: Store, operation: Operations['claim'], leaseMs: number): Promise<unknown> {
  const { session, generation, owner } = operation;
  const result = await store.claim(session, { generation, owner }, leaseMs, minute);
  if (result.state === 'settled') return { state: 'settled', record: withoutAges(result.record) };
  if (result.state === 'granted') return { state: 'granted', interrupted: result.interrupted };
  return result.leftMs > 0 && result.leftMs <= minuteMs ? { state: 'held' } : result;
}

function withoutAges({ ended, generation, content, confirmedMsAgo, activeMsAgo }: SessionRecord): unknown {
  return { ended, generation, content, confirmed: isAge(confirmedMsAgo), active: isAge(activeMsAgo) };
}

function withoutAge({ session, details, activeMsAgo }: ListedSession): unknown {
  return { session, details, active: isAge(activeMsAgo) };
}

function isAge(ms: number | undefined): boolean {
  if (ms !== undefined && !(ms >= 0 && ms < minuteMs)) throw new RangeError(`${ms} ms is no age of something recent`);
  return ms !== undefined;
}

function sorted(values: readonly unknown[]): unknown[] {
  return values.map((value) => JSON.stringify(value)).toSorted();
}

function detailsOf(session: string): string {
  return `sealed details of ${session}`;
}

interface ModelSession {
  readonly ended: SessionEnd | undefined;
  readonly generation: number;
  readonly content: string | undefined;
  readonly confirmed: boolean;
  readonly active: boolean;
  readonly claim: ModelClaim | undefined;
  /** Under which names it is listed; undefined where it was not begun, and once it has ended. */
  readonly listed: readonly string[] | undefined;
}

interface ModelClaim {
  /** Undefined once it was released as interrupted. */
  readonly owner: string | undefined;
  readonly lasts: boolean;
  readonly interrupted: boolean;
}

export interface Model {
  readonly sessions: Readonly<Record<string, ModelSession>>;
  readonly revocations: Readonly<Record<string, Revocation>>;
  readonly used: readonly string[];
}

export const emptyModel: Model = { sessions: {}, revocations: {}, used: [] };

const absent: ModelSession = {
  ended: undefined,
  generation: 0,
  content: undefined,
  confirmed: false,
  active: false,
  claim: undefined,
  listed: undefined,
};

export interface Step {
  readonly model: Model;
  readonly answer?: unknown;
  readonly messages?: readonly StoreMessage[];
}

const steps: { readonly [Type in keyof Operations]: (model: Model, operation: Operations[Type]) => Step } = {
  begin(model, { session, names, content }) {
    const was = sessionOf(model, session);
    if (was.ended !== undefined) return { model };
    const keeps = content !== undefined && was.generation === 0 && !was.confirmed;
    const listed = [...(was.listed ?? []), ...names];
    return { model: withSession(model, session, { ...was, listed, content: keeps ? content : was.content }) };
  },
  look(model, { session, names }) {
    const revocations = sorted(names.flatMap((name) => model.revocations[name] ?? []));
    return { model, answer: { record: recordOf(sessionOf(model, session)), revocations } };
  },
  claim: (model, operation) => stepOfClaim(model, operation, true),
  lapse: (model, operation) => stepOfClaim(model, operation, false),
  release(model, { session, generation, owner, interrupted }) {
    const was = sessionOf(model, session);
    if (was.generation !== generation || was.claim?.owner !== owner) return { model };
    const claim = interrupted ? { owner: undefined, lasts: false, interrupted: true } : undefined;
    return { model: withSession(model, session, { ...was, claim }), messages: [{ type: 'released', session }] };
  },
  advance(model, { session, generation, content }) {
    const was = sessionOf(model, session);
    if (was.ended !== undefined || generation <= was.generation) {
      const isRepeated = generation === was.generation && content === was.content;
      return { model, answer: isRepeated ? { advanced: true } : { advanced: false, record: recordOf(was) } };
    }
    return {
      model: withSession(model, session, { ...raised(was, generation), content }),
      answer: { advanced: true },
      messages: [{ type: 'advanced', session, generation }],
    };
  },
  confirm(model, { session, generation }) {
    const was = model.sessions[session];
    if (was?.generation !== generation) return { model };
    return { model: withSession(model, session, { ...was, confirmed: true }) };
  },
  touch(model, { session }) {
    const was = sessionOf(model, session);
    return { model: withSession(model, session, { ...was, active: was.active || was.ended === undefined }) };
  },
  end(model, { session, reason }) {
    const was = sessionOf(model, session);
    if (was.ended !== undefined) return { model, answer: false };
    const ended = { ...was, ended: reason, content: undefined, claim: undefined, listed: undefined };
    return {
      model: withSession(model, session, ended),
      answer: true,
      messages: [{ type: 'ended', session, reason }],
    };
  },
  revoke(model, { name, before, reason }) {
    const earlier = model.revocations[name];
    const revocation = earlier === undefined || before > earlier.before ? { before, reason } : earlier;
    return {
      model: { ...model, revocations: { ...model.revocations, [name]: revocation } },
      messages: [{ type: 'revoked', name, before, reason }],
    };
  },
  list(model, { name }) {
    const found = Object.entries(model.sessions).filter(([, { listed }]) => listed?.includes(name));
    return {
      model,
      answer: sorted(found.map(([session, { active }]) => ({ session, details: detailsOf(session), active }))),
    };
  },
  useOnce(model, { name }) {
    return { model: { ...model, used: [...model.used, name] }, answer: !model.used.includes(name) };
  },
};

/** What an operation does to a model. */
export function step(model: Model, operation: Operation): Step {
  return (steps[operation.type] as (model: Model, operation: Operation) => Step)(model, operation);
}

function stepOfClaim(model: Model, { session, generation, owner }: Operations['claim'], lasts: boolean): Step {
  const was = sessionOf(model, session);
  if (was.ended !== undefined || was.generation > generation) {
    return { model, answer: { state: 'settled', record: recordOf(was) } };
  }
  const known = raised(was, generation);
  const isRenewal = known.claim?.owner === owner;
  if (known.claim?.lasts === true && !isRenewal) return { model, answer: { state: 'held' } };
  const interrupted = known.claim !== undefined && (!isRenewal || known.claim.interrupted);
  return {
    model: withSession(model, session, { ...known, claim: { owner, lasts, interrupted } }),
    answer: { state: 'granted', interrupted },
  };
}

function raised(was: ModelSession, generation: number): ModelSession {
  if (was.generation === generation) return was;
  return { ...was, generation, content: undefined, confirmed: false, claim: undefined };
}

function sessionOf(model: Model, session: string): ModelSession {
  return model.sessions[session] ?? absent;
}

function withSession(model: Model, session: string, changed: ModelSession): Model {
  return { ...model, sessions: { ...model.sessions, [session]: changed } };
}

function recordOf({ ended, generation, content, confirmed, active }: ModelSession): unknown {
  return { ended, generation, content, confirmed, active };
}

/**
 * What can go wrong between Sallyport and a provider, as rules that a test sets per endpoint. The rules that match a
 * request are applied in the order in which they were set.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * The endpoints that rules and counters know. A request to the token endpoint counts as `token` and, by its grant
 * type, as `code`, `refresh`, `exchange` or `clientCredentials`.
 */
export type Endpoint =
  | 'discovery'
  | 'jwks'
  | 'authorization'
  | 'token'
  | 'code'
  | 'refresh'
  | 'exchange'
  | 'clientCredentials'
  | 'userinfo'
  | 'revocation'
  | 'introspection'
  | 'pushedAuthorization'
  | 'endSession'
  | 'other'
  /** Whatever Sallyport itself asks the provider, as against what the browser does. */
  | 'backChannel';

/** What a provider that fails may quote of the request. */
export interface QuotableRequest {
  readonly form: Readonly<Record<string, string>>;
  readonly headers: IncomingHttpHeaders;
}

export interface Failure {
  /** Default 500. */
  status?: number;
  /** Objects are sent as JSON; a function may quote the request. Default: a small JSON error. */
  body?: string | Record<string, unknown> | ((request: QuotableRequest) => Record<string, unknown>);
  headers?: Record<string, string>;
  /** A `WWW-Authenticate` header that quotes the request. */
  challenge?: (request: QuotableRequest) => string;
  /** Default: `application/json` for objects, `text/html` for strings. */
  contentType?: string;
  /** How often; default: until it is undone. */
  times?: number;
  /** Lets so many requests pass first. Default 0. */
  skip?: number;
}

/** A gate that holds requests back until the test lets them go. */
export interface Gate {
  /** Resolves when the first request has arrived at the gate. */
  readonly arrived: Promise<void>;
  /** Lets everything pass that waits, and what comes later. */
  release(): void;
}

/** Takes a rule back. */
export type Undo = () => void;

export interface Faults {
  /** Answers in the provider's place; the provider sees nothing. */
  readonly fail: (endpoint: Endpoint, failure?: Failure) => Undo;
  /** Waits before the provider sees the request. */
  readonly delay: (endpoint: Endpoint, milliseconds: number) => Undo;
  /** Holds requests before the provider sees them (or, `after: 'commit'`, holds its answers) until released. */
  readonly hold: (endpoint: Endpoint, options?: { after?: 'commit'; times?: number }) => Gate;
  /** Never answers; the provider sees nothing. */
  readonly hang: (endpoint: Endpoint, times?: number, skip?: number) => Undo;
  /** Destroys the socket; the provider sees nothing. */
  readonly reset: (endpoint: Endpoint, times?: number, skip?: number) => Undo;
  /** The provider does its work, then the socket is destroyed: the answer is lost. */
  readonly dropAfterCommit: (endpoint: Endpoint, times?: number, skip?: number) => Undo;
  /** Takes every rule back (of one endpoint, or all). */
  readonly heal: (endpoint?: Endpoint) => void;
}

type Step =
  | { kind: 'fail'; failure: Failure }
  | { kind: 'delay'; milliseconds: number }
  | { kind: 'hold'; gate: InnerGate; after: 'arrival' | 'commit' }
  | { kind: 'hang' }
  | { kind: 'reset' }
  | { kind: 'dropAfterCommit' };

interface Rule {
  endpoint: Endpoint;
  toSkip: number;
  remaining: number;
  step: Step;
}

/** A gate as the one who is held sees it. */
export interface InnerGate extends Gate {
  pass(): Promise<void>;
}

/** What becomes of a request once the rules before the provider have been applied. */
export type Verdict = { kind: 'pass' } | { kind: 'fail'; failure: Failure } | { kind: 'hang' } | { kind: 'reset' };

export interface FaultRules extends Faults {
  /** Applies the rules for a request that counts as `endpoints`. */
  readonly beforeWork: (
    endpoints: readonly Endpoint[],
  ) => Promise<{ verdict: Verdict; afterWork: () => Promise<'answer' | 'drop'> }>;
}

export function createFaultRules(): FaultRules {
  const rules = new Set<Rule>();

  function add(endpoint: Endpoint, step: Step, times = Infinity, skip = 0): Undo {
    const rule: Rule = { endpoint, toSkip: skip, remaining: times, step };
    rules.add(rule);
    return () => {
      rules.delete(rule);
      if (step.kind === 'hold') step.gate.release();
    };
  }

  function take(endpoints: readonly Endpoint[]): Step[] {
    const matching = [...rules].filter((rule) => endpoints.includes(rule.endpoint) && !isSkipping(rule));
    for (const rule of matching) {
      rule.remaining -= 1;
      if (rule.remaining <= 0) rules.delete(rule);
    }
    return matching.map((rule) => rule.step);
  }

  return {
    fail: (endpoint, failure = {}) => add(endpoint, { kind: 'fail', failure }, failure.times, failure.skip),
    delay: (endpoint, milliseconds) => add(endpoint, { kind: 'delay', milliseconds }),
    hold(endpoint, options = {}) {
      const gate = createGate();
      const undo = add(endpoint, { kind: 'hold', gate, after: options.after ?? 'arrival' }, options.times);
      return { arrived: gate.arrived, release: undo };
    },
    hang: (endpoint, times, skip) => add(endpoint, { kind: 'hang' }, times, skip),
    reset: (endpoint, times, skip) => add(endpoint, { kind: 'reset' }, times, skip),
    dropAfterCommit: (endpoint, times, skip) => add(endpoint, { kind: 'dropAfterCommit' }, times, skip),
    heal(endpoint) {
      for (const rule of rules) {
        if (endpoint !== undefined && rule.endpoint !== endpoint) continue;
        rules.delete(rule);
        if (rule.step.kind === 'hold') rule.step.gate.release();
      }
    },
    async beforeWork(endpoints) {
      const steps = take(endpoints);
      const verdict = await applyBefore(steps);
      return { verdict, afterWork: () => applyAfter(steps) };
    },
  };
}

function isSkipping(rule: Rule): boolean {
  rule.toSkip -= 1;
  return rule.toSkip >= 0;
}

async function applyBefore(steps: Step[]): Promise<Verdict> {
  for (const step of steps) {
    if (step.kind === 'delay') await sleep(step.milliseconds);
    if (step.kind === 'hold' && step.after === 'arrival') await step.gate.pass();
    if (step.kind === 'fail') return { kind: 'fail', failure: step.failure };
    if (step.kind === 'hang' || step.kind === 'reset') return { kind: step.kind };
  }
  return { kind: 'pass' };
}

async function applyAfter(steps: Step[]): Promise<'answer' | 'drop'> {
  for (const step of steps) {
    if (step.kind === 'hold' && step.after === 'commit') await step.gate.pass();
    if (step.kind === 'dropAfterCommit') return 'drop';
  }
  return 'answer';
}

export function createGate(): InnerGate {
  const arrival = createSignal();
  const opening = createSignal();
  return {
    arrived: arrival.given,
    release: opening.give,
    async pass() {
      arrival.give();
      await opening.given;
    },
  };
}

function createSignal(): { given: Promise<void>; give: () => void } {
  let settle: (() => void) | undefined;
  const given = new Promise<void>((resolve) => {
    settle = resolve;
  });
  return { given, give: () => settle?.() };
}

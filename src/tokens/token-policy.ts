/** What every token policy is: which credentials a call carries, and what follows when the API rejects them. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { SessionEntry } from '../session/sessions.ts';
import type { Claims, ResourceToken } from '../token-set.ts';
import type { ObtainedToken } from './kept-tokens.ts';

/** What a policy sees of a call. One object for all attempts of the call. */
export interface TokenCall {
  readonly request: IncomingMessage;
  /** Undefined without a session: never where one is required. */
  readonly entry: SessionEntry | undefined;
  /** Path and query at the API. */
  readonly path: string;
  /** What the last attempt carried, left by {@link RouteTokens.headers} for {@link RouteTokens.renew}. */
  sentToken: string | undefined;
  /** What a policy has obtained for the next attempt, and asks for anew once the API has rejected it. */
  obtained: ObtainedToken | undefined;
  /** Whether the API has asked for a proof with its nonce (RFC 9449 9). */
  wasAskedForNonce: boolean;
}

/** Of a call that was not sent yet. */
export const nothingSent = {
  sentToken: undefined,
  obtained: undefined,
  wasAskedForNonce: false,
} as const satisfies Partial<TokenCall>;

/** Which tokens one route's calls carry. */
export interface TokenPolicy {
  /** Whether calls without a session are refused, pass as well, or no session is looked for at all. */
  readonly session: 'required' | 'optional' | 'unused';
  /** Whether the session's own access token is made sure of before a call: refreshed where it is due. */
  readonly usesSessionToken: boolean;
  /** Whether a response may depend on who calls. */
  readonly personal: boolean;
  /** The names of the headers that it sets: what a client sends under them never passes. */
  readonly headerNames: readonly string[];
  /**
   * The header lines (name, value, …) of one attempt; a promise only where something must be obtained first.
   * @throws {BffError}
   */
  headers(call: TokenCall): readonly string[] | Promise<readonly string[]>;
  /**
   * Whether after this 401 a new attempt may help: decided when the response's head is there.
   * @param challenge its `WWW-Authenticate`
   */
  mayRenew(call: TokenCall, challenge: string): boolean;
  /** Obtains what the next attempt needs. @throws {BffError} */
  renew(call: TokenCall): Promise<void>;
  /** What {@link renew} has obtained was rejected as well. */
  recordRejection(call: TokenCall): void;
  /**
   * What the provider's introspection says of the token that {@link headers} will send (RFC 7662 2.2), for what the route
   * requires; asked before `headers`. The same object for the same answer, and never changed. Absent on routes that ask
   * for none.
   * @throws {BffError}
   */
  introspected?(call: TokenCall): Claims | Promise<Claims>;
  /**
   * The token of a resource that {@link headers} will send in place of the session's own, for what the route requires;
   * asked before `headers`. Absent on routes that send no such token.
   * @throws {BffError}
   */
  ofResource?(call: TokenCall): ResourceToken | undefined | Promise<ResourceToken | undefined>;
}

/** The credentials of one route's calls: those of its policy, and the proofs that belong to them. */
export interface RouteTokens extends TokenPolicy {
  /** Learns from the head of each response. */
  noteAnswer(headers: IncomingHttpHeaders): void;
  /** Whether after this 401 a new proof may help, with the nonce that came with it: once a call. */
  mayProveAnew(call: TokenCall, challenge: string, headers: IncomingHttpHeaders): boolean;
  /** The header lines of an attempt again, for a request that is sent a second time: no proof may come twice. */
  provenAnew(call: TokenCall, lines: readonly string[]): readonly string[];
}

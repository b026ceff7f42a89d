/**
 * The `state` of a login (RFC 6749 4.1.1): its id, and sealed behind it what the app asked for. So an answer that comes
 * when the transaction's cookie is gone still tells where the person was going, and a request of any length leaves no
 * large cookie.
 */
import { pack, unpack } from './packing.ts';
import type { Sealer } from './seal.ts';

/** What the app asked of a login. */
export interface LoginIntent {
  readonly returnTo: string;
  /** The authorization parameters that the app passed; undefined if they are too long to travel. */
  readonly parameters: Readonly<Record<string, string>> | undefined;
  /** Whether an earlier login of the same intent had expired on the provider's side. */
  readonly restarted: boolean;
  /**
   * In a popup of the app, whose last page tells the app's tabs how it ended: the name that the page behind it has given
   * itself, or ''. Undefined otherwise.
   */
  readonly popup: string | undefined;
  /** The `acr_values` that the app passes: what the callback checks stays, where the other parameters are too long. */
  readonly acrValues?: string | undefined;
}

type Parameters = NonNullable<LoginIntent['parameters']>;

/** Providers, and servers on both ways, refuse addresses of more than some 8,000 characters. */
const maximumSealedLength = 4096;

export async function writeState(id: string, intent: LoginIntent, sealer: Sealer): Promise<string> {
  const { parameters } = intent;
  const whole = await seal(id, intent, sealer);
  if (fits(whole)) return `${id}.${whole}`;
  const shorter = await seal(id, { ...intent, parameters: undefined, acrValues: parameters?.['acr_values'] }, sealer);
  return `${id}.${fits(shorter) ? shorter : await seal(id, { ...intent, parameters: undefined }, sealer)}`;
}

function fits(sealed: string): boolean {
  return sealed.length <= maximumSealedLength;
}

function seal(id: string, intent: LoginIntent, sealer: Sealer): Promise<string> {
  const { returnTo, parameters, restarted, popup, acrValues } = intent;
  const fields = [id, returnTo, parameters ?? null, restarted, popup ?? null];
  return sealer.seal(pack({ fields: acrValues === undefined ? fields : [...fields, acrValues], tokens: [] }));
}

/** The id of a state, and its intent; undefined for whatever {@link writeState} did not write. */
export function readState(
  state: string,
  sealer: Sealer,
): { readonly id: string; readonly intent: LoginIntent } | undefined {
  const dot = state.indexOf('.');
  if (dot === -1) return undefined;
  const id = state.slice(0, dot);
  const text = sealer.unseal(state.slice(dot + 1));
  const fields = text === undefined ? undefined : unpack(text)?.fields;
  // Of this login: the sealed intent of another one must not be accepted.
  if (!Array.isArray(fields) || fields[0] !== id || typeof fields[1] !== 'string') return undefined;
  const [, returnTo, parameters, ...others] = fields as [string, string, Parameters | null, ...unknown[]];
  const [restarted, popup, acrValues] = others;
  const intent = {
    returnTo,
    parameters: parameters ?? undefined,
    restarted: restarted === true,
    popup: popupIn(popup),
    acrValues: parameters?.['acr_values'] ?? (typeof acrValues === 'string' ? acrValues : undefined),
  };
  return { id, intent };
}

/** Earlier versions wrote only whether there is one. */
function popupIn(field: unknown): string | undefined {
  if (field === true) return '';
  return typeof field === 'string' ? field : undefined;
}

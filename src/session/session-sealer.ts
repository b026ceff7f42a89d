/** Sessions as sealed text, the form that cookies and the store hold: what can't be served doesn't open. */
import { withoutFirstToExpire } from './resource-tokens.ts';
import { createSealer, type Sealer } from './seal.ts';
import { isServable, readSession, writeSession, type Session } from './session.ts';

export interface SessionSealer extends Pick<Sealer, 'mayOpen'> {
  /** @throws {RangeError} when the session is larger than what could be opened again */
  seal(session: Session): Promise<string>;
  /** Undefined for whatever isn't a session of ours, and for one that can't be served. */
  unseal(sealed: string): Session | undefined;
}

/**
 * Up to where tokens of single resources are put into the cookies. Servers in front refuse longer ones by default
 * (`cookie-sizes.ts`), and a session that can do without must not become one of those.
 */
const maximumWithResourceTokens = 8000;

/**
 * For sessions in cookies. Tokens of single resources that have no place there stay in the memory of this process.
 * @param secrets the first seals, all unseal
 */
export function createSessionSealer(secrets: readonly string[]): SessionSealer {
  return sealSessionsWith(createSealer(secrets, 'session'), maximumWithResourceTokens);
}

/** @param maximumLength up to which tokens of single resources are put into the seal */
export function sealSessionsWith(sealer: Sealer, maximumLength = Infinity): SessionSealer {
  async function seal(session: Session): Promise<string> {
    const sealed = await sealer.seal(writeSession(session));
    const { resourceTokens } = session;
    if (sealed.length <= maximumLength || resourceTokens === undefined || resourceTokens.size === 0) return sealed;
    return seal({ ...session, resourceTokens: withoutFirstToExpire(resourceTokens) });
  }

  return {
    mayOpen: (sealed) => sealer.mayOpen(sealed),
    seal,

    unseal(sealed) {
      const text = sealer.unseal(sealed);
      const session = text === undefined ? undefined : readSession(text);
      return session !== undefined && isServable(session) ? session : undefined;
    },
  };
}

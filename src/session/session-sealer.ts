/** Sessions as sealed text, the form that cookies and the store hold: what can't be served doesn't open. */
import { createSealer, type Sealer } from './seal.ts';
import { isServable, readSession, writeSession, type Session } from './session.ts';

export interface SessionSealer extends Pick<Sealer, 'mayOpen'> {
  /** @throws {RangeError} when the session is larger than what could be opened again */
  seal(session: Session): Promise<string>;
  /** Undefined for whatever isn't a session of ours, and for one that can't be served. */
  unseal(sealed: string): Session | undefined;
}

/** For sessions in cookies. @param secrets the first seals, all unseal */
export function createSessionSealer(secrets: readonly string[]): SessionSealer {
  return sealSessionsWith(createSealer(secrets, 'session'));
}

export function sealSessionsWith(sealer: Sealer): SessionSealer {
  return {
    mayOpen: (sealed) => sealer.mayOpen(sealed),

    async seal(session) {
      return sealer.seal(writeSession(session));
    },

    unseal(sealed) {
      const text = sealer.unseal(sealed);
      const session = text === undefined ? undefined : readSession(text);
      return session !== undefined && isServable(session) ? session : undefined;
    },
  };
}

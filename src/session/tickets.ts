/**
 * Tickets: what the cookie holds where sessions live in the store (`session.mode: store`). A ticket names the session and
 * brings a key of its own, and the session is sealed under that key and the server's: neither a copy of the store nor a
 * stolen secret alone reveals a token. The names by which a provider ends sessions travel along, so that one look in the
 * store tells all.
 *
 * A ticket is `t1.<key id>.<id>.<key>.<name>.<name>.<mac>`, of 176 characters at most. The MAC keeps invented tickets
 * from the store.
 */
import { createHmac, createSecretKey, randomBytes, timingSafeEqual, type KeyObject } from 'node:crypto';
import type { SessionForm } from './session.ts';
import { deriveKey, deriveKeyId } from './derived-keys.ts';
import { createSealerWith, type SealKeys } from './seal.ts';
import { sealSessionsWith, type SessionSealer } from './session-sealer.ts';

export interface Ticket {
  /** The session's id. */
  readonly id: string;
  /** 256 random bits in base64url, which are nowhere else. */
  readonly key: string;
  /** See `session-names.ts`. */
  readonly names: readonly string[];
}

/** A ticket stays the same: it leads to the newest form of its session, and is never to be replaced. */
export const formOfTickets: SessionForm = { generation: Infinity, sealedActivityAt: Infinity };

export interface Tickets {
  /** A new session's key. */
  createKey(): string;
  /** A ticket as text, for the cookie. */
  write(ticket: Ticket): string;
  /** Undefined for whatever isn't a ticket of ours. */
  read(text: string): Ticket | undefined;
  /** Seals and opens the session of a ticket. */
  sealerOf(ticket: Pick<Ticket, 'key'>): SessionSealer;
}

const shape = /^t1\.([0-9a-f]{8})\.([\w-]{22})\.([\w-]{43})((?:\.(?:sub|sid):[\w-]{22}){0,2})\.([\w-]{43})$/;

/** Whether a text begins like a ticket of ours, whole or cut. */
export function looksLikeTicket(text: string): boolean {
  return /^t\d\.[0-9a-f]{8}\.[\w.:-]*$/.test(text);
}

/** @param secrets the first signs, all verify */
export function createTickets(secrets: readonly string[]): Tickets {
  const signers = secrets.map((secret) => ({
    id: deriveKeyId(secret, 'ticket'),
    key: deriveKey(secret, 'ticket integrity', 32),
  }));
  const sealing = secrets.map((secret) => ({
    id: deriveKeyId(secret, 'stored session'),
    key: createSecretKey(deriveKey(secret, 'stored session', 64)),
  }));
  const [signing] = signers;
  if (signing === undefined) throw new TypeError('Tickets need a secret.');
  const verifying = new Map(signers.map(({ id, key }) => [id, key]));

  return {
    createKey: () => randomBytes(32).toString('base64url'),

    write({ id, key, names }) {
      const signed = ['t1', signing.id, id, key, ...names].join('.');
      return `${signed}.${macOf(signed, signing.key).toString('base64url')}`;
    },

    read(text) {
      const [, keyId = '', id = '', key = '', names = '', mac = ''] = shape.exec(text) ?? [];
      const integrity = verifying.get(keyId);
      if (integrity === undefined) return undefined;
      // Compared as text, so that a ticket has one spelling: the last character has bits that no byte needs.
      const expected = macOf(text.slice(0, -mac.length - 1), integrity).toString('base64url');
      if (!timingSafeEqual(Buffer.from(expected), Buffer.from(mac))) return undefined;
      return { id, key, names: names.split('.').slice(1) };
    },

    sealerOf(ticket) {
      return sealSessionsWith(
        createSealerWith(sealing.map(({ id, key }) => ({ id, derive: () => keysOf(ticket.key, key) }))),
      );
    },
  };
}

/** Both keys of a session by one HMAC of the ticket's key under the server's, because each opening needs them. */
function keysOf(ticketKey: string, serverKey: KeyObject): SealKeys {
  const bytes = createHmac('sha512', serverKey).update(ticketKey).digest();
  return { encryption: bytes.subarray(0, 32), integrity: bytes.subarray(32) };
}

function macOf(text: string, key: Buffer): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

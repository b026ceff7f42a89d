/** Dex's gRPC API (api/v2/api.proto), as far as the tests need it: refresh tokens of a person, and their revocation. */
import { once } from 'node:events';
import { connect } from 'node:http2';

export interface DexAdmin {
  /** How many refresh tokens a person has; `subject` is the `sub` of the ID token. */
  readonly countRefreshTokens: (subject: string) => Promise<number>;
  readonly revokeRefreshToken: (subject: string, clientId: string) => Promise<void>;
}

export function createDexAdmin(port: number): DexAdmin {
  return {
    async countRefreshTokens(subject) {
      return countFields(await call(port, 'ListRefresh', [subject]));
    },
    async revokeRefreshToken(subject, clientId) {
      // The only field of the answer says that there was none.
      if (countFields(await call(port, 'RevokeRefresh', [subject, clientId])) > 0) throw new Error('no such token');
    },
  };
}

/** A call whose request has strings only, numbered from 1. */
async function call(port: number, method: string, fields: readonly string[]): Promise<Buffer> {
  const session = connect(`http://127.0.0.1:${port}`);
  try {
    const stream = session.request({
      ':method': 'POST',
      ':path': `/api.Dex/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const chunks: Buffer[] = [];
    let status: unknown;
    stream.on('trailers', (trailers) => (status = trailers['grpc-status']));
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    const message = Buffer.concat(fields.map((text, index) => stringField(index + 1, text)));
    stream.end(Buffer.concat([lengthPrefix(message.length), message]));
    await once(stream, 'end');
    if (Number(status) !== 0) throw new Error(`${method} ended with the gRPC status ${String(status)}`);
    return Buffer.concat(chunks).subarray(5);
  } finally {
    session.close();
  }
}

/** A message's frame: not compressed, and its length. */
function lengthPrefix(length: number): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(length, 1);
  return prefix;
}

function stringField(number: number, text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length > 127) throw new RangeError('lengths of one byte only');
  return Buffer.concat([Buffer.from([number * 8 + 2, bytes.length]), bytes]);
}

/** How many fields stand at the top of a message; each is a flag, or has a length of one byte. */
function countFields(message: Buffer): number {
  let count = 0;
  for (let at = 0; at < message.length; count += 1) {
    const isFlag = ((message[at] ?? 0) & 7) === 0;
    at += 2 + (isFlag ? 0 : (message[at + 1] ?? 0));
  }
  return count;
}

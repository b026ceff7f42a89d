/**
 * Packs a session into few 7-bit characters, because it travels in a cookie and iron seals text only: so a Keycloak
 * token set fits into one cookie. A JWT is split: deflate shortens the JSON of its header and payload, with a
 * dictionary of what tokens usually contain; its signature does not compress and is added as bytes. The bytes are then
 * written seven bits to a character, which costs 8/7 of their size where base64 would cost 4/3. Other tokens are added
 * as text.
 *
 * The first character is the version of this format. What was packed without one, until version 2, begins with a length
 * of less than 5 MiB, and so with a character that is no larger than a blank; no version may be one of those. Cookies of
 * an older version come until their sessions have ended: whatever makes a new one goes on reading those before it.
 */
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';

const version = '2';

/** More than a provider's largest token responses take. Packing more fails, so that whatever was packed unpacks. */
const maximumInflatedBytes = 4 * 1024 * 1024;

/** What deflate makes shorter by more than this is inflated in several pieces. */
const usualInflation = 4;

/** Width of the two length fields. */
const lengthBytes = 3;

/**
 * What OpenID providers write in tokens, the most frequent last, where deflate's distances are shortest.
 * Part of the format: a change needs a new version of it, and the reader the old dictionary.
 */
const dictionary = Buffer.from(
  '"https://login.microsoftonline.com/","https://accounts.google.com","tid":"","oid":"","ver":"2.0","uti":"","rh":"","scp":"openid profile email offline_access"' +
    '"email_verified":true,"name":"","given_name":"","family_name":"","preferred_username":"","email":"@example.com","picture":"https://","locale":"en","updated_at":' +
    '"urn:mace:incommon:iap:silver","amr":["pwd","mfa"],"acr":"1","allowed-origins":["https://"],"realm_access":{"roles":["offline_access","uma_authorization","default-roles-"]},' +
    '"resource_access":{"account":{"roles":["manage-account","manage-account-links","view-profile"]}},"groups":["/"],"roles":["user","admin"],' +
    '"scope":"openid profile email offline_access","client_id":"","sid":"","at_hash":"","nonce":"","session_state":"","auth_time":17,"azp":"","typ":"Bearer","typ":"ID","typ":"Offline","typ":"Refresh",' +
    '{"exp":17,"iat":17,"auth_time":17,"jti":"onrtro:","iss":"https:///realms/","aud":["account"],"sub":"","typ":"' +
    '{"alg":"ES256","typ":"JWT","kid":"{"alg":"HS512","typ" : "JWT","kid" : "{"alg":"RS256","typ":"at+jwt","kid":"{"alg":"RS256","typ" : "JWT","kid" : "',
);

/** JSON values, and the tokens, which are packed each by itself. */
export interface Packable {
  readonly fields: unknown;
  readonly tokens: readonly (string | undefined)[];
}

/** Names of one letter, because they are in each cookie. */
interface Manifest {
  /** The fields. */
  readonly f: unknown;
  /** Per token: null (absent), a length of text, or the lengths of a JWT's header, payload and signature. */
  readonly t: readonly (null | number | readonly [number, number, number])[];
}

/**
 * @returns text of characters 0 to 127
 * @throws {RangeError} when there is more than {@link unpack} would take
 */
export function pack({ fields, tokens }: Packable): string {
  const texts: Buffer[] = [];
  const signatures: Buffer[] = [];
  const lengths = tokens.map((token) => {
    if (token === undefined) return null;
    const jwt = splitJwt(token);
    if (jwt === undefined) {
      const text = Buffer.from(token);
      texts.push(text);
      return text.length;
    }
    texts.push(jwt.header, jwt.payload);
    signatures.push(jwt.signature);
    return [jwt.header.length, jwt.payload.length, jwt.signature.length] as const;
  });
  const manifest = Buffer.from(JSON.stringify({ f: fields, t: lengths } satisfies Manifest));
  const manifestLength = Buffer.alloc(lengthBytes);
  manifestLength.writeUIntBE(manifest.length, 0, lengthBytes);
  const plain = Buffer.concat([manifestLength, manifest, ...texts]);
  if (plain.length > maximumInflatedBytes)
    throw new RangeError(`The content is larger than ${maximumInflatedBytes} bytes.`);
  const deflated = deflateRawSync(plain, { level: 9, memLevel: 9, windowBits: windowBitsFor(plain), dictionary });
  const deflatedLength = Buffer.alloc(lengthBytes);
  deflatedLength.writeUIntBE(deflated.length, 0, lengthBytes);
  return version + toSevenBits(Buffer.concat([deflatedLength, deflated, ...signatures]));
}

/** zlib looks back by so much less than its window. */
const lookaheadBytes = 262;

/** As small a window as reaches back to everything: zlib clears the memory of the largest one, at 15 us a session. */
function windowBitsFor(plain: Buffer): number {
  const bits = Math.ceil(Math.log2(dictionary.length + plain.length + lookaheadBytes));
  return Math.min(constants.Z_MAX_WINDOWBITS, bits);
}

/** The inverse of {@link pack}. Undefined for whatever pack didn't make, such as what another version sealed. */
export function unpack(text: string): Packable | undefined {
  try {
    return unpackOrThrow(text);
  } catch {
    return undefined;
  }
}

function unpackOrThrow(text: string): Packable {
  const bytes = fromSevenBits(isUnversioned(text) ? text : withoutVersion(text));
  const end = lengthBytes + bytes.readUIntBE(0, lengthBytes);
  const deflated = bytes.subarray(lengthBytes, end);
  const inflated = inflateRawSync(deflated, {
    dictionary,
    maxOutputLength: maximumInflatedBytes,
    // By default zlib takes 16 kB for each session, which the garbage collector has to follow.
    chunkSize: Math.max(constants.Z_MIN_CHUNK, usualInflation * deflated.length),
  });
  const textsAt = lengthBytes + inflated.readUIntBE(0, lengthBytes);
  const { f, t } = JSON.parse(inflated.toString('utf8', lengthBytes, textsAt)) as Manifest;
  const texts = partsOf(inflated, textsAt);
  const signatures = partsOf(bytes, end);
  const tokens = t.map((lengths) => {
    if (lengths === null) return undefined;
    if (typeof lengths === 'number') return texts(lengths).toString();
    const [header, payload, signature] = lengths;
    return [texts(header), texts(payload), signatures(signature)].map((part) => part.toString('base64url')).join('.');
  });
  return { fields: f, tokens };
}

function isUnversioned(text: string): boolean {
  return text.charCodeAt(0) <= 0x20;
}

/** @throws {RangeError} for another version */
function withoutVersion(text: string): string {
  if (!text.startsWith(version)) throw new RangeError('No such version.');
  return text.slice(version.length);
}

/** Reads one part after the other. @throws {RangeError} for a length that the bytes do not have */
function partsOf(bytes: Buffer, start: number): (length: number) => Buffer {
  let at = start;
  return (length) => {
    const end = at + length;
    if (!Number.isSafeInteger(length) || length < 0 || end > bytes.length) throw new RangeError('No such length.');
    const part = bytes.subarray(at, end);
    at = end;
    return part;
  };
}

function splitJwt(token: string): { header: Buffer; payload: Buffer; signature: Buffer } | undefined {
  const segments = token.split('.');
  const [header, payload, signature] = segments.map((segment) => Buffer.from(segment, 'base64url'));
  if (segments.length !== 3 || header === undefined || payload === undefined || signature === undefined)
    return undefined;
  // Only a token that can be restored exactly: other alphabets and padding would be lost.
  const restorable = [header, payload, signature].every(
    (part, index) => part.toString('base64url') === segments[index],
  );
  return restorable ? { header, payload, signature } : undefined;
}

/** Seven bytes are eight characters, as two times four; the rest is filled up with zeros. */
function toSevenBits(bytes: Buffer): string {
  const groups = Math.ceil(bytes.length / 7);
  const filled = Buffer.allocUnsafe(7 * groups);
  filled.fill(0, bytes.copy(filled));
  const characters = Buffer.allocUnsafe(8 * groups);
  const [from, to] = [viewOf(filled), viewOf(characters)];
  for (let group = 0; group < groups; group++) {
    to.setUint32(8 * group, spread(from.getUint32(7 * group) >>> 4));
    to.setUint32(8 * group + 4, spread(from.getUint32(7 * group + 3)));
  }
  return characters.toString('latin1', 0, Math.ceil((bytes.length * 8) / 7));
}

/** The inverse of {@link toSevenBits}, which leaves out what doesn't fill a byte. */
function fromSevenBits(text: string): Buffer {
  const groups = Math.ceil(text.length / 8);
  const characters = Buffer.allocUnsafe(8 * groups);
  characters.fill(0, characters.write(text, 'latin1'));
  const bytes = Buffer.allocUnsafe(7 * groups);
  const [from, to] = [viewOf(characters), viewOf(bytes)];
  for (let group = 0; group < groups; group++) {
    const high = join(from.getUint32(8 * group));
    const low = join(from.getUint32(8 * group + 4));
    to.setUint32(7 * group, high << 4);
    to.setUint32(7 * group + 3, (high << 28) | low);
  }
  return bytes.subarray(0, Math.floor((text.length * 7) / 8));
}

/** Numbers of 32 bits, the first byte highest, are read four times as fast as from a buffer. */
function viewOf({ buffer, byteOffset, length }: Buffer): DataView {
  return new DataView(buffer, byteOffset, length);
}

/** The lower 28 bits, in four bytes of seven. */
function spread(bits: number): number {
  return ((bits << 3) & 0x7f_00_00_00) | ((bits << 2) & 0x7f_00_00) | ((bits << 1) & 0x7f_00) | (bits & 0x7f);
}

/** The inverse of {@link spread}. */
function join(bytes: number): number {
  return ((bytes >>> 3) & 0xf_e0_00_00) | ((bytes >>> 2) & 0x1f_c0_00) | ((bytes >>> 1) & 0x3f_80) | (bytes & 0x7f);
}

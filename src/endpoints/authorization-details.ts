/**
 * What the SPA asks for in detail (`authorization_details`, RFC 9396 2), as a parameter of the login. Any site can set it
 * by a link, so only the types that the operator allows pass, and what passes is written anew from what was checked.
 */
import { BffError } from '../http/errors.ts';

const maximumCharacters = 4096;

/**
 * @param text the parameter: a JSON array of objects
 * @param allowedTypes of `login.allowAuthorizationDetails`
 * @throws {BffError} `request_invalid`
 */
export function readAuthorizationDetails(text: string, allowedTypes: readonly string[]): string {
  if (text.length > maximumCharacters) {
    throw invalid(`authorization_details may have ${maximumCharacters} characters.`);
  }
  const details = parse(text);
  if (!Array.isArray(details) || details.length === 0) {
    throw invalid('authorization_details must be a JSON array of objects, each with a "type" (RFC 9396 2).');
  }
  for (const [index, detail] of details.entries()) {
    if (!allowedTypes.includes(typeOf(detail))) {
      throw invalid(
        `authorization_details[${index}] has no type that this app may ask for: login.allowAuthorizationDetails lists those.`,
      );
    }
  }
  return JSON.stringify(details);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** '' for whatever has none: no type is allowed that is empty. */
function typeOf(detail: unknown): string {
  if (typeof detail !== 'object' || detail === null || !Object.hasOwn(detail, 'type') || !('type' in detail)) return '';
  return typeof detail.type === 'string' ? detail.type : '';
}

function invalid(detail: string): BffError {
  return new BffError('request_invalid', detail);
}

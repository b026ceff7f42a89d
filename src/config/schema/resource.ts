/** How resources and scopes are written: what an access token is asked for. */
import { z } from 'zod';
import { text } from '../kinds.ts';

/** RFC 6749 3.3. */
export const scope = text.regex(
  /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/,
  'must be scopes, separated by single spaces',
);

/** RFC 8707 2: an absolute URI without a fragment. */
const resourceUri = text.refine(
  (uri) => URL.canParse(uri) && /^[\x21\x22\x24-\x7e]+$/.test(uri),
  'must be an absolute URI without a fragment, e.g. "https://orders.example.com"',
);

export const resource = z.union(
  [resourceUri, z.array(resourceUri).min(1, 'must name a resource')],
  'must be an absolute URI without a fragment, e.g. "https://orders.example.com", or a list of them',
);

/** The policy `{ resource, scope }`. */
export const ofResource = z
  .strictObject({
    resource: resource.optional().meta({
      description:
        'The address of the API as the provider knows it (RFC 8707). Asked for at login and with the refresh token.',
    }),
    scope: scope.optional().meta({
      description: 'The scopes of the token, separated by spaces. Asked for at login and with the refresh token.',
    }),
  })
  .refine((policy) => policy.resource !== undefined || policy.scope !== undefined, 'must name a resource or a scope');

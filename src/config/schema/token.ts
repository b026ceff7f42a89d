/** The key `api[].token`: which token a call of the route carries. */
import { z } from 'zod';
import type { TokenFunction } from '../token-function.ts';

const named = z.enum(['session', 'none', 'optional']);
/** For code alone. */
export const tokenFunction = z.custom<TokenFunction>((value) => typeof value === 'function');

export const token = z
  .union([named, tokenFunction], 'must be "session", "none", "optional" or a function')
  .default('session')
  .meta({
    description:
      "The token that calls carry. `session`: the session's access token. `none`: none, and no session is looked for: " +
      'anybody who passes the origin check reaches the API. `optional`: as `session` where there is one, else as `none`. ' +
      'A function in code chooses for itself.',
  });

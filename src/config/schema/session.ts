/** The keys of sessions: their lifetime, their refreshes, and the calls that may use them. */
import { z } from 'zod';
import { namesToken } from '../../token-set.ts';
import { cookieName, flag, seconds, text } from '../kinds.ts';

/** Browsers keep no cookie for longer (RFC 6265bis 5.5). */
const maximumLifetimeSeconds = 400 * 24 * 3600;

export const session = z
  .strictObject({
    mode: z
      .enum(['cookie', 'store'], 'must be "cookie" or "store"')
      .default('cookie')
      .meta({
        description:
          '`cookie`: the tokens travel in the sealed cookie, and nothing is stored. `store`: the cookie holds a ticket of ' +
          'less than 200 bytes, and the session is in the store, sealed under the ticket and the secret. It lifts the ' +
          'limit on the size of tokens; a store that loses its data signs people out. Sessions that exist stay where they ' +
          'are when it changes.',
      }),
    cookieName: cookieName()
      .default('session')
      .meta({
        description:
          "The word for the session in its cookie's name, `__Host-Http-session` or, on loopback `http`, `session-PORT`. " +
          'Another one for each app that shares a host over https, at another port or below another path: else they sign ' +
          'each other out.',
      }),
    lifetimeSeconds: seconds(1, maximumLifetimeSeconds).default(28_800).meta({
      description: 'Seconds from the login to the end of the session. A stolen cookie works until then at the latest.',
    }),
    idleSeconds: seconds(0, maximumLifetimeSeconds)
      .default(0)
      .meta({
        description:
          'Seconds without an API call to the end of the session. 0: no such limit; an abandoned browser then stays ' +
          'signed in for the whole lifetime.',
      }),
    registry: flag.default(true).meta({
      description:
        'Keeps a record of each session in the store, from which people see where they are signed in and end what they do ' +
        'not know (`/bff/sessions`), and operators as well. It holds browser, system and the network of the address at the ' +
        'sign-in, sealed, until the session ends.',
    }),
    cacheMegabytes: z
      .int('must be a whole number of megabytes')
      .min(16, 'must be at least 16 megabytes')
      .max(65_536, 'must be at most 65536 megabytes')
      .default(512)
      .meta({
        description:
          'Megabytes of memory for the sessions whose cookies were opened, about 6 for 1,000 sessions; at most half of ' +
          'what Node lets its heap grow to. A call whose session has no place there costs about as much CPU again. Tokens ' +
          'that are obtained for [single APIs](token-policies.md) may take a quarter of that besides.',
      }),
    claims: z
      .array(text.refine((name) => !namesToken(name), 'holds tokens, which no script may see; remove it'))
      .default([])
      .meta({
        description:
          'Further claims that `/bff/session` shows, e.g. `realm_access`, beside those of OpenID Connect Core 5.1, `groups` ' +
          'and `roles`. Every script on the page can read them. What is a token is never shown.',
      }),
  })
  .prefault({});

export const refresh = z
  .strictObject({
    beforeSeconds: seconds(0, 3600).default(30).meta({
      description: 'Seconds before its expiry at which a token is refreshed; never more than half its lifetime.',
    }),
    graceSeconds: seconds(0, 600)
      .default(60)
      .meta({
        description:
          'Seconds for which calls with the cookie from before a refresh get its result, counted from the first call ' +
          'with the new cookie. A copied old cookie works that long as well.',
      }),
  })
  .prefault({});

export const csrf = z
  .strictObject({
    requireHeader: flag.default(false).meta({
      description:
        'Requires the header `X-CSRF: 1` on every call besides the origin check: a second defence, which plain links ' +
        'and forms cannot pass.',
    }),
  })
  .prefault({});

/** The keys of signing in and out at the provider: the client, the login, the logout. */
import { z } from 'zod';
import { flag, logoutParameterName, parameterName, seconds, text } from '../kinds.ts';
import { clientAuthentication } from './client-authentication.ts';

export const client = z.strictObject({
  id: text.meta({ description: 'The client id, as registered with the provider.' }),
  ...clientAuthentication,
  dpop: z
    .enum(['off', 'ES256', 'EdDSA'], 'must be "off", "ES256" or "EdDSA"')
    .default('off')
    .meta({
      description:
        "Binds each session's tokens to a key of its own (DPoP, RFC 9449), with signatures of this algorithm: a token that " +
        'leaks from an API or a log is of no use without it. The provider and the APIs must know DPoP. Sessions that are ' +
        'there already go on as they began.',
    }),
  responseMode: z
    .enum(['query', 'form_post', 'jwt', 'form_post.jwt'], 'must be "query", "form_post", "jwt" or "form_post.jwt"')
    .default('query')
    .meta({
      description:
        'How the provider answers the login. `form_post` keeps the code out of URLs, and so out of access logs; the ' +
        'callback then takes one more page load. `jwt` and `form_post.jwt` are the same two with an answer that the ' +
        'provider signs (JARM): an answer that is not signed is refused.',
    }),
});

export const login = z
  .strictObject({
    allowParams: z
      .array(parameterName())
      .default([])
      .meta({
        description:
          'Further authorization parameters that the SPA may pass to the login, e.g. `kc_idp_hint`. Every site can set ' +
          'them by a link.',
      }),
    params: z.record(parameterName(), z.string()).default({}).meta({
      description:
        'Authorization parameters sent with every login, e.g. `audience`. The SPA can replace those that it may pass.',
    }),
    pushed: z
      .enum(['auto', 'required', 'off'], 'must be "auto", "required" or "off"')
      .default('auto')
      .meta({
        description:
          'Whether the request to sign in is pushed to the provider (RFC 9126), so that the browser carries only a ' +
          'reference to it, which nobody can read or change. `auto`: where the provider offers that. `required`: always, ' +
          'and never by plain parameters. `off`: never.',
      }),
    requestObject: flag.default(false).meta({
      description:
        'Signs the request to sign in with the key of `client.keyFile` (RFC 9101), so that the provider knows it for this ' +
        "client's, and nobody on the way can change it.",
    }),
    authorizationDetails: z
      .array(z.looseObject({ type: text }))
      .default([])
      .meta({
        description:
          'What every login asks to be allowed in detail (`authorization_details`, RFC 9396): objects, each with a `type` ' +
          'that the provider knows.',
      }),
    allowAuthorizationDetails: z
      .array(text)
      .default([])
      .meta({
        description:
          'The types of `authorization_details` that the SPA may ask for besides, e.g. `payment_initiation`. Every site can ' +
          'ask for them by a link: the person must see at the provider what they allow.',
      }),
    userInfo: flag.default(false).meta({
      description:
        "Adds the UserInfo endpoint's claims to the ID token's. They count against the size of the cookie, and each " +
        'login waits for one more call.',
    }),
    lifetimeSeconds: seconds(1, 86_400)
      .default(600)
      .meta({
        description:
          'Seconds that a person may take to sign in at the provider. Whoever copies the cookie of a login that was begun ' +
          'can complete it for that long.',
      }),
  })
  .prefault({});

/** In a value of `logout.params`: the address to which the provider sends the browser after sign-out. */
export const returnToPlaceholder = '{returnTo}';

export const logout = z
  .strictObject({
    returnTo: text
      .regex(/^\/(?![/\\])[^\\\s]*$/, 'must be a path on the own origin, e.g. "/"')
      .default('/')
      .meta({
        description:
          'The page to which the provider sends the browser after sign-out, and where people land who give no `returnTo` ' +
          'of their own. Register origin + path with the provider as a post-logout redirect URI.',
      }),
    params: z
      .record(
        logoutParameterName(),
        z.string().refine((value) => !/[{}]/.test(value.replaceAll(returnToPlaceholder, '')), {
          message: `has one placeholder only: "${returnToPlaceholder}", the address of \`logout.returnTo\``,
        }),
      )
      .default({})
      .meta({
        description:
          'Parameters sent to the provider with every sign-out. `{returnTo}` in a value stands for the whole address of ' +
          '`logout.returnTo`: Amazon Cognito needs `logout_uri={returnTo}`.',
      }),
    idTokenHint: flag.default(true).meta({
      description:
        'Sends the ID token to the provider at sign-out, so that it asks nothing. Off for a provider that refuses an ' +
        'expired one. A token that makes the address too long is left out anyway.',
    }),
    backchannel: z
      .union([z.boolean(), z.literal('shared')], 'must be true, false or "shared"')
      .default(true)
      .meta({
        description:
          'Takes back-channel logout at `/bff/backchannel-logout`: what has ended at the provider ends here. Without a shared ' +
          'store it reaches one process; `shared` refuses to start then, for set-ups of several machines.',
      }),
    frontchannel: flag.default(false).meta({
      description:
        "Takes front-channel logout at `/bff/frontchannel-logout`, from a frame of the provider's. It is not signed: whoever " +
        'knows the `sid` of a session can end it.',
    }),
  })
  .prefault({});

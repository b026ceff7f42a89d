/** The keys of an API route, and the defaults that routes take from `upstream`. */
import { z } from 'zod';
import { foldedName, keepableHeaders } from '../../http/identity-headers.ts';
import { bytes, flag, hasNoDotSegment, httpUrl, seconds, text } from '../kinds.ts';
import { requirements } from './require.ts';
import { token } from './token.ts';

const headerPattern = z
  .string('must be the name of a header')
  .regex(/^[!#$%&'+.^_`|~0-9A-Za-z-]+\*?$/, 'must be the name of a header, or its beginning and "*"');
const keepable = new Set(keepableHeaders);
const keepableHeader = z
  .string('must be the name of a header')
  .refine(
    (name) => keepable.has(foldedName(name)),
    `is not a name that a route may keep; those are ${keepableHeaders.join(', ')}`,
  );
const cookieName = z
  .string('must be the name of a cookie')
  .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'must be the name of a cookie');

export const route = z.strictObject({
  path: text
    .regex(/^(?:\/[A-Za-z0-9._~-]+)+$/, 'must be a path such as "/api": letters, digits, "-._~", no "/" at its end')
    .refine(hasNoDotSegment, 'must not hold "." or ".." segments')
    .meta({ description: 'The prefix, on whole path segments; the longest prefix that matches wins.' }),
  target: httpUrl('the address of the API, e.g. "http://127.0.0.1:9100/v1"').meta({
    description:
      "The API's address; its path replaces the prefix. The access token goes there: over `http:`, everyone on that " +
      'network can read it.',
  }),
  token,
  require: requirements,
  methods: z
    .array(
      z
        .string()
        .regex(/^[A-Z][A-Z0-9-]*$/, 'must be a method in capital letters')
        // The answer to a TRACE holds the request with its access token; a CONNECT would make this server a tunnel.
        .refine((method) => method !== 'TRACE' && method !== 'CONNECT', 'must not be TRACE or CONNECT'),
    )
    .min(1, 'must name a method')
    .optional()
    .meta({
      description: 'Methods that may pass; others get 405. Default: GET, HEAD, POST, PUT, PATCH, DELETE, QUERY.',
    }),
  timeoutSeconds: seconds(0.1, 3600).optional().meta({
    description: "Seconds to the API's first byte; beyond it 504. Default: `upstream.timeoutSeconds`.",
  }),
  connectTimeoutSeconds: seconds(0.1, 600).default(10).meta({
    description: 'Seconds to a connection with the API, the TLS handshake included.',
  }),
  idleTimeoutSeconds: seconds(0, 86_400)
    .default(0)
    .meta({
      description:
        "Seconds between two chunks of the API's answer. 0: no limit, as event streams need; an API that stalls then holds " +
        'its connection.',
    }),
  maxConcurrent: z
    .int('must be a whole number of calls')
    .min(0, 'must not be negative')
    .default(0)
    .meta({
      description:
        'Calls that this process makes at a time; beyond it 429. 0: no limit; one user can then use up all that the ' +
        'API can do.',
    }),
  maxBodyBytes: bytes.optional().meta({
    description: 'Largest request body in bytes; beyond it 413. 0: no limit. Default: `upstream.maxBodyBytes`.',
  }),
  replayBytes: bytes.optional().meta({
    description:
      'Bytes of a request body kept in memory to repeat the call after a 401. A larger body is streamed, and its call ' +
      'is not repeated. Default: `upstream.replayBytes`.',
  }),
  navigations: flag.default(false).meta({
    description:
      'Lets a GET pass that no page caused (`Sec-Fetch-Site: none`), for documents opened from a bookmark. Other ' +
      'sites can cause one by a redirect, with the session: only for an API whose GETs change nothing.',
  }),
  websocket: flag.default(true).meta({ description: 'Lets WebSocket upgrades pass, with the access token.' }),
  websocketTokenProtocol: text
    .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'must be the beginning of a sub-protocol, e.g. "bearer."')
    .optional()
    .meta({
      description:
        'For an API that reads the token from the WebSocket sub-protocols: the text before the token there, e.g. ' +
        '`bearer.`. After a `base64url.…` the token is encoded, as Kubernetes wants. Some servers log sub-protocols, ' +
        'and with them the token.',
    }),
  allowEncodedSlashes: flag.default(false).meta({
    description:
      'Lets %2F and %5C in paths pass, for an API that needs them. An API that decodes them reads another path than ' +
      'the one that chose the route.',
  }),
  preserveHost: flag.default(false).meta({
    description:
      "Sends the app's host as `Host`, in place of the target's, for an API that builds addresses from it. The API must " +
      'answer to that name.',
  }),
  cookies: z
    .array(cookieName)
    .default([])
    .meta({
      description:
        "Cookies that pass to the API and not only from it, e.g. `AWSALB` of a load balancer. Never Sallyport's own. The " +
        'API must not trust them: sibling domains can set them.',
    }),
  dropHeaders: z
    .array(headerPattern)
    .default([])
    .meta({
      description:
        'Further request headers that never pass, for an API that believes them of a gateway, e.g. `X-Acme-User` or ' +
        '`X-Acme-*`. Adds to `upstream.dropHeaders`.',
    }),
  keepHeaders: z
    .array(keepableHeader)
    .default([])
    .meta({
      description:
        'Request headers of the app that are dropped otherwise because gateways use such names, e.g. `X-User-Id`. ' +
        'Browsers can send any value: the API must not take it for proof of who calls, nor a method override for one ' +
        'that passed `methods`.',
    }),
  caFile: text.optional().meta({
    description:
      "A PEM file with the certificate authorities of an `https:` target, in place of the system's. Each of them can " +
      'issue a certificate that is accepted for this API.',
  }),
  certFile: text.optional().meta({
    description:
      'A PEM file with the certificate, and its chain, that is shown to an `https:` target (mutual TLS), for tokens that ' +
      'are bound to it. Read anew when it changes. Every call of the route shows it, whoever makes the call.',
  }),
  keyFile: text.optional().meta({ description: 'The private key of `certFile`, as PEM or as a JWK.' }),
  socketPath: text.optional().meta({
    description:
      "A Unix socket on which the API listens; the target's host is then only the `Host` header. Whoever may bind the " +
      'socket receives the tokens.',
  }),
});

export const upstream = z
  .strictObject({
    timeoutSeconds: seconds(0.1, 3600).default(60).meta({
      description: "Seconds to the API's first byte, for routes that set none.",
    }),
    maxBodyBytes: bytes.default(0).meta({
      description:
        'Largest request body in bytes, for routes that set none. 0: no limit; the API then has to refuse large uploads.',
    }),
    replayBytes: bytes.default(65_536).meta({
      description:
        'Bytes of a request body kept in memory to repeat the call after a 401, for routes that set none. Each running ' +
        'call can hold that much.',
    }),
    dropHeaders: z
      .array(headerPattern)
      .default([])
      .meta({
        description:
          'Request headers that never pass, on all routes, besides those of known gateways. A name that ends in `*` ' +
          'stands for all that begin so. An API that believes a header which is not dropped believes every browser.',
      }),
  })
  .prefault({});

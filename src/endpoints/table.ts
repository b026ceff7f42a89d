/** The endpoints below `basePath`: path, methods, handler. What a method or a path that is not listed gets is in `app.ts`. */
import { createBackchannelLogout } from './backchannel-logout.ts';
import { createCallback } from './callback.ts';
import type { BffContext, EndpointDeps } from './endpoint.ts';
import { createErrorReference } from './error-reference.ts';
import { createSessionEvents } from './events.ts';
import { createFrontchannelLogout } from './frontchannel-logout.ts';
import { createJwks } from './jwks.ts';
import { createLogin } from './login.ts';
import { createLogout } from './logout.ts';
import { createSessionList } from './session-list.ts';
import { createSessionEndpoints } from './session.ts';
import { createSessionViews } from './session-view.ts';

export type EndpointHandler = (c: BffContext) => Promise<Response>;

export interface Endpoint {
  /** Below `basePath`. */
  readonly path: string;
  readonly methods: Readonly<Record<string, EndpointHandler>>;
}

export function createEndpointTable(deps: EndpointDeps): readonly Endpoint[] {
  const { backchannel, frontchannel } = deps.config.logout;
  const { publicKeys } = deps.provider;
  const login = createLogin(deps);
  const callback = createCallback(deps);
  const views = createSessionViews(deps);
  const session = createSessionEndpoints(deps, views);
  const logout = createLogout(deps);
  return [
    // Starts a sign-in and sends the browser to the provider.
    { path: '/login', methods: { GET: login } },
    // Takes the provider's authorization response, by query or by form, and starts the session.
    { path: '/callback', methods: { GET: callback.get, POST: callback.post } },
    // Shows the SPA its session, without a token and without prolonging it.
    { path: '/session', methods: { GET: session.read } },
    // Tells the SPA what happens to its session, as it happens.
    { path: '/events', methods: { GET: createSessionEvents(deps, views) } },
    // Refreshes the access token because the SPA asks for it.
    { path: '/refresh', methods: { POST: session.refresh } },
    // Ends the session here and at the provider, by a link or by a call.
    { path: '/logout', methods: { GET: logout.get, POST: logout.post } },
    ...(deps.sessions.registry.isOn ? sessionList(deps) : []),
    // Ends sessions that have ended at the provider: its server says so, or a frame of its page does.
    ...(backchannel === false
      ? []
      : [{ path: '/backchannel-logout', methods: { POST: createBackchannelLogout(deps) } }]),
    ...(frontchannel ? [{ path: '/frontchannel-logout', methods: { GET: createFrontchannelLogout(deps) } }] : []),
    // Shows the provider the public keys of this client, where it has keys.
    ...(publicKeys === undefined ? [] : [{ path: '/jwks.json', methods: { GET: createJwks(publicKeys) } }]),
    // Explains the codes of errors. It is the same for everyone.
    { path: '/errors', methods: { GET: createErrorReference(deps) } },
  ];
}

function sessionList(deps: EndpointDeps): readonly Endpoint[] {
  const list = createSessionList(deps);
  return [
    // Shows the person where they are signed in, and ends all their sessions but this one.
    { path: '/sessions', methods: { GET: list.read, DELETE: list.endOthers } },
    // Ends one of the person's sessions.
    { path: '/sessions/:handle', methods: { DELETE: list.endOne } },
  ];
}

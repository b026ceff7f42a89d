/** What an administrator does in Keycloak's console, and what Keycloak's event log says, by its admin REST API. */
import { z } from 'zod';

export interface KeycloakAdminOptions {
  /** Keycloak's address, such as `http://localhost:8080`. */
  url: string;
  password: string;
}

const events = z.array(z.looseObject({ type: z.string(), error: z.string().optional() }));
const sessions = z.array(z.looseObject({ id: z.string() }));
const users = z.tuple([z.looseObject({ id: z.string() })]);
const tokens = z.looseObject({ access_token: z.string() });

export type KeycloakEvent = z.infer<typeof events>[number];

export interface KeycloakAdmin {
  /** The realm's events of one type, newest first. */
  events(type: string): Promise<KeycloakEvent[]>;
  clearEvents(): Promise<void>;
  /** The user's sessions with Keycloak. */
  sessions(username: string): Promise<{ id: string }[]>;
  /** Ends all sessions of a user, as the console's button "Sign out" does. */
  endSessions(username: string): Promise<void>;
  /** Ends one session, as the button beside it does. */
  endSession(id: string): Promise<void>;
  /** Adds a signing key that is preferred to the others; these stay valid for what they have signed. */
  rotateKeys(): Promise<void>;
  addClient(client: object): Promise<void>;
  /** Adds a realm as the representation has it, with its users and clients. */
  addRealm(representation: object): Promise<void>;
  /** Adds an OpenID provider that Keycloak can hand logins over to. */
  addIdentityProvider(alias: string, authorizationUrl: string): Promise<void>;
}

const realm = 'sallyport';

/** Every call signs in afresh: the tokens of the console's client live for a minute only. */
export function createKeycloakAdmin({ url, password }: KeycloakAdminOptions): KeycloakAdmin {
  function call(method: string, path: string, body?: unknown): Promise<unknown> {
    return callAbove(method, `/${realm}${path}`, body);
  }

  /** @param path below that of all realms */
  async function callAbove(method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await fetch(`${url}/admin/realms${path}`, {
      method,
      headers: { authorization: `Bearer ${await adminToken()}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} answers ${response.status}: ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }

  async function adminToken(): Promise<string> {
    const response = await fetch(`${url}/realms/master/protocol/openid-connect/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'password', client_id: 'admin-cli', username: 'admin', password }),
    });
    return tokens.parse(await response.json()).access_token;
  }

  async function idOf(username: string): Promise<string> {
    return users.parse(await call('GET', `/users?exact=true&username=${username}`))[0].id;
  }

  return {
    events: async (type) => events.parse(await call('GET', `/events?type=${type}&max=1000`)),
    clearEvents: async () => {
      await call('DELETE', '/events');
    },
    sessions: async (username) => sessions.parse(await call('GET', `/users/${await idOf(username)}/sessions`)),
    endSessions: async (username) => {
      await call('POST', `/users/${await idOf(username)}/logout`);
    },
    endSession: async (id) => {
      await call('DELETE', `/sessions/${id}`);
    },
    rotateKeys: async () => {
      await call('POST', '/components', {
        name: `rsa-${Date.now()}`,
        providerId: 'rsa-generated',
        providerType: 'org.keycloak.keys.KeyProvider',
        config: { priority: ['1000'], enabled: ['true'], active: ['true'], algorithm: ['RS256'] },
      });
    },
    addClient: async (client) => {
      await call('POST', '/clients', client);
    },
    addRealm: async (representation) => {
      await callAbove('POST', '', representation);
    },
    addIdentityProvider: async (alias, authorizationUrl) => {
      await call('POST', '/identity-provider/instances', {
        alias,
        providerId: 'oidc',
        enabled: true,
        config: {
          authorizationUrl,
          tokenUrl: `${new URL(authorizationUrl).origin}/token`,
          clientId: 'keycloak-broker',
          clientSecret: 'unused-by-this-test',
        },
      });
    },
  };
}

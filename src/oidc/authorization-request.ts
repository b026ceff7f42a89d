/**
 * The authorization request (RFC 6749 4.1.1 with PKCE, RFC 7636): the address to which a login sends the browser. Where
 * the provider offers it, the request is pushed first (RFC 9126): Sallyport sends the parameters itself, authenticated,
 * and the browser carries a reference to them, so that nobody on its way can read or change them.
 */
import * as client from 'openid-client';
import type { Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import { BffError, retryAfter } from '../http/errors.ts';
import type { DpopKey } from '../token-set.ts';
import type { OidcClient } from './client.ts';
import type { Discovery } from './discovery.ts';
import { proverOf } from './dpop.ts';
import { providerUnavailable } from './provider-errors.ts';
import { responseOf, withProvidersWords } from './refusal.ts';
import { requestObject } from './request-object.ts';
import { resourcesOfRoutes } from './resources.ts';
import { requestedMode } from './response-mode.ts';
import { loginScope } from './scope.ts';
import { isFinalRefusal } from './token-response.ts';

/** What a login transaction checks the authorization and token response against. */
export interface LoginChecks {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
  /** What the tokens are to be bound to; undefined for bearer tokens. */
  readonly dpopKey: DpopKey | undefined;
}

interface RequestDeps {
  readonly discovery: Pick<Discovery, 'fetchMetadata'>;
  readonly client: Pick<OidcClient, 'configured' | 'signClientJwt'>;
  readonly events: Events;
  readonly redirectUri: string;
}

type Parameters = Readonly<Record<string, string>>;

export function createAuthorizationRequest(config: Config, deps: RequestDeps) {
  const { discovery, events, redirectUri } = deps;
  const { configured, signClientJwt } = deps.client;
  const { pushed } = config.login;
  const { resources } = resourcesOfRoutes(config);
  /** The metadata of a provider that lists the endpoint for pushed requests, and does not serve this client there. */
  let unserved: client.ServerMetadata | undefined;

  /**
   * The URL that starts the code flow.
   * @param extra further authorization parameters
   * @throws {BffError} `authorization_failed` if the provider refuses a pushed request, else `provider_unavailable`
   */
  async function authorizationUrl(extra: Parameters, checks: LoginChecks): Promise<URL> {
    const metadata = await discovery.fetchMetadata();
    const parameters = await parametersOf(extra, checks, metadata);
    const isPushed = isDemanded(metadata) || (pushed === 'auto' && isOffered(metadata) && metadata !== unserved);
    return isPushed ? pushedUrl(parameters, metadata, checks.dpopKey) : plainUrl(parameters);
  }

  async function parametersOf(
    extra: Parameters,
    { state, nonce, verifier, dpopKey }: LoginChecks,
    metadata: client.ServerMetadata,
  ): Promise<URLSearchParams> {
    const responseMode = requestedMode(config);
    const parameters = new URLSearchParams({
      ...extra,
      ...detailsOf(extra, config),
      response_type: 'code',
      redirect_uri: redirectUri,
      scope: loginScope(config, metadata),
      state,
      nonce,
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      ...(responseMode === undefined ? {} : { response_mode: responseMode }),
      // A code that leaks can then not be redeemed with another key (RFC 9449 10).
      ...(dpopKey === undefined ? {} : { dpop_jkt: proverOf(dpopKey).thumbprint }),
    });
    // Beside one that `login.params` names for the session's own token (RFC 8707 2.1).
    for (const resource of resources) {
      if (resource !== extra['resource']) parameters.append('resource', resource);
    }
    return parameters;
  }

  function plainUrl(parameters: URLSearchParams): Promise<URL> {
    return configured({}, async (configuration) =>
      client.buildAuthorizationUrl(configuration, await signed(parameters, configuration)),
    );
  }

  /** Anew for each attempt: a provider may take each request object once. */
  async function signed(parameters: URLSearchParams, configuration: client.Configuration): Promise<URLSearchParams> {
    if (!config.login.requestObject) return parameters;
    const metadata = configuration.serverMetadata();
    return requestObject(parameters, { clientId: config.client.id, metadata }, signClientJwt);
  }

  /** The browser gets `client_id` and `request_uri` alone (RFC 9126 4). */
  async function pushedUrl(
    parameters: URLSearchParams,
    metadata: client.ServerMetadata,
    dpopKey: DpopKey | undefined,
  ): Promise<URL> {
    if (!isOffered(metadata)) throw unsuitable('The provider names no pushed_authorization_request_endpoint.');
    try {
      return await configured({ dpopKey }, async (configuration) =>
        client.buildAuthorizationUrlWithPAR(configuration, await signed(parameters, configuration)),
      );
    } catch (error) {
      const cause = await withProvidersWords(error);
      if (!isDemanded(metadata) && isUnserved(error)) {
        unserved = metadata;
        events.emit({ type: 'provider.push_refused', cause });
        return plainUrl(parameters);
      }
      const failure = failureOf(error, cause);
      events.emit({ type: 'login.failed', reason: failure.code, cause });
      throw failure;
    }
  }

  /** Whether a request in the browser's hands must not be tried, whatever becomes of the pushed one. */
  function isDemanded(metadata: client.ServerMetadata): boolean {
    return pushed === 'required' || (pushed === 'auto' && metadata.require_pushed_authorization_requests === true);
  }

  return authorizationUrl;
}

/** Those of every login, and then those of this one (RFC 9396 2). */
function detailsOf({ authorization_details: own = '[]' }: Parameters, { login }: Config): Parameters {
  const details = [...login.authorizationDetails, ...(JSON.parse(own) as readonly unknown[])];
  return details.length === 0 ? {} : { authorization_details: JSON.stringify(details) };
}

function isOffered(metadata: client.ServerMetadata): boolean {
  return metadata.pushed_authorization_request_endpoint !== undefined;
}

function unsuitable(reason: string): BffError {
  return new BffError(
    'provider_unavailable',
    'This app and its identity provider do not fit together; the operator finds the reason in the log.',
    { cause: new Error(reason), headers: retryAfter(), pageWording: 'setup' },
  );
}

/** A provider, or a gateway before it, that has no such endpoint after all. */
const statusesOfAbsence = new Set([404, 405, 501]);

/** Whether the provider pushes no requests of this client, so that only the login by plain parameters is left. */
function isUnserved(error: unknown): boolean {
  if (error instanceof client.ResponseBodyError && error.error === 'unauthorized_client') return true;
  return statusesOfAbsence.has(responseOf(error)?.status ?? 0);
}

/** A refusal of what was asked is about this login; whatever else fails may pass (RFC 9126 2.3). */
function failureOf(error: unknown, cause: unknown): BffError {
  if (error instanceof client.ResponseBodyError && isFinalRefusal(error.status, error.error)) {
    return new BffError('authorization_failed', 'The identity provider refused the request to sign in.', { cause });
  }
  return providerUnavailable(error, cause);
}

/**
 * The request headers in which a gateway tells an API who calls, from where, and what was really asked for. APIs believe
 * them, and a browser could write them itself: none of them passes. Names are compared as loosely as servers read them.
 */

/** A family of names; one that ends in `*` stands for all that begin so. */
export interface HeaderFamily {
  /** Whose headers they are, in words. */
  readonly of: string;
  readonly names: readonly string[];
}

/** By gateway, for the reference in docs/http-interface.md. */
export const identityFamilies: readonly HeaderFamily[] = [
  family('any proxy: the chain of proxies', 'forwarded x-forwarded* via proxy-client-* x-proxyuser-ip'),
  family(
    "any proxy: the client's address",
    `x-real-ip x-real-port x-client-ip x-cluster-client-ip true-client-ip client-ip http-client-ip remote-addr
     x-original-forwarded-for x-original-remote-addr`,
  ),
  family(
    'any proxy: the address that was asked for',
    `x-original-url x-original-uri x-original-path x-original-host x-original-method x-original-proto x-rewrite-url
     x-host x-scheme x-url-scheme front-end-https disguised-host x-waws-unencoded-url x-middleware-subrequest`,
  ),
  family('any proxy: the method that was asked for', 'x-http-method x-http-method-override x-method-override'),
  family(
    'any proxy: who calls',
    `x-user x-user-id x-userid x-user-name x-username x-user-email x-user-groups x-user-roles x-email x-mail x-group
     x-groups x-role x-roles x-userinfo x-user-info x-principal x-proxy-user x-logged-in-user x-access-token x-id-token
     x-refresh-token x-jwt-* x-sso-* txn-token`,
  ),
  family(
    'any proxy: the client certificate (RFC 9440, nginx, Apache, HAProxy)',
    `client-cert* x-client-cert* x-client-dn x-client-verify x-client-subject* x-client-ssl-* ssl-* x-ssl-* tls-client-*
     x-tls-client-*`,
  ),
  family('Authelia, CGI, Kubernetes API aggregation', 'remote-* x-remote-*'),
  family(
    'oauth2-proxy, Keycloak Gatekeeper, Pomerium, Vouch',
    `x-auth-request-* x-auth-user* x-auth-name x-auth-email x-auth-groups x-auth-roles x-auth-subject x-auth-audience
     x-auth-expiresin x-auth-token x-pomerium-* x-vouch-*`,
  ),
  family(
    'Kong, Ory, Caddy Security',
    `x-authenticated-* x-consumer-* x-anonymous-consumer x-credential-identifier x-credential-username x-kratos-*
     x-token-subject x-token-user-*`,
  ),
  family('authentik, Grafana', 'x-authentik-* x-webauth-*'),
  family('mod_auth_openidc, mod_auth_mellon, mod_auth_cas', 'oidc-* mellon-* cas-*'),
  family('Shibboleth', 'shib-* ajp-* eppn persistent-id targeted-id unscoped-affiliation'),
  family(
    'SiteMinder, IBM WebSEAL and WebSphere, Oracle Access Manager, WebLogic',
    'sm-* smuser iv-* $ws* oam-* osso-* wl-proxy-*',
  ),
  family('Envoy, Istio, Dapr', 'x-envoy-* dapr-caller-*'),
  family('Cloudflare', 'cf-access-* cf-connecting-* cf-pseudo-ipv4 cf-client-cert-*'),
  family(
    'AWS load balancer, API Gateway, Lambda, CloudFront',
    'x-amzn-oidc-* x-amzn-mtls-* x-amzn-request-context x-amzn-lambda-context cloudfront-viewer-*',
  ),
  family(
    'Azure App Service, Front Door, Application Gateway',
    'x-ms-client-principal* x-ms-token-* x-azure-clientip x-azure-socketip x-azure-fdid x-arr-clientcert x-arr-ssl',
  ),
  family(
    'Google IAP, Cloud Run, API Gateway, App Engine',
    `x-goog-authenticated-* x-goog-iap-* x-serverless-authorization x-apigateway-api-* x-endpoint-api-* x-appengine-*`,
  ),
  family(
    'other networks and platforms',
    `fastly-client-ip fly-client-ip x-vercel-* x-nf-* x-sucuri-clientip incap-client-ip ali-cdn-real-ip cdn-src-ip
     x-cdn-src-ip eo-connecting-ip tailscale-* ngrok-auth-* teleport-* x-teleport-* x-sandstorm-* ynh-*`,
  ),
  family('the browser itself, of a session bound to its device', 'secure-session-* sec-session-* sec-secure-session-*'),
];

/** Names that apps use for themselves, too. A route may keep them (`keepHeaders`). */
export const keepableHeaders: readonly string[] = words(
  `x-http-method x-http-method-override x-method-override x-host x-user x-user-id x-userid x-user-name x-username
   x-user-email x-user-groups x-user-roles x-email x-mail x-group x-groups x-role x-roles x-userinfo x-user-info
   x-principal x-access-token x-id-token x-refresh-token x-auth-token`,
);

/**
 * A name in the spelling in which names are compared. For CGI variables (RFC 3875 4.1.18) servers write "-" as "_", and
 * some every character but letters and digits: `X_Forwarded_For` and `X.Forwarded.For` are X-Forwarded-For to them.
 */
export function foldedName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '-');
}

/** Whether a name is one of `patterns`, of which one that ends in `*` stands for all that begin so. */
export function createNameMatcher(patterns: readonly string[]): (folded: string) => boolean {
  const names = new Set(patterns.filter((pattern) => !pattern.endsWith('*')).map(foldedName));
  const prefixes = patterns
    .filter((pattern) => pattern.endsWith('*'))
    .map((pattern) => foldedName(pattern.slice(0, -1)));
  return (folded) => names.has(folded) || prefixes.some((prefix) => folded.startsWith(prefix));
}

/** Whether a header, by its {@link foldedName}, is one that only a gateway may set. */
export const isIdentityHeader = createNameMatcher(identityFamilies.flatMap(({ names }) => names));

function family(of: string, names: string): HeaderFamily {
  return { of, names: words(names) };
}

function words(list: string): string[] {
  return list.trim().split(/\s+/);
}

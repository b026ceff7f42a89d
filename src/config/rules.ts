/** The rules that span keys, or that look at the machine: which values exclude each other, and which files must exist. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { isWithin } from '../http/paths.ts';
import { clientFaults } from './client-rules.ts';
import type { ConfigFault } from './faults.ts';
import { readLogo } from './logo.ts';
import { pageTexts } from './page-texts.ts';
import { profileFaults } from './profile.ts';
import { parseRedisUrl } from './redis-url.ts';
import { routeCertificateFaults } from './route-certificate.ts';
import { defaultBasePath, type ParsedConfig } from './schema.ts';
import { faultOfSpaFolder, holdsPlaceholder } from './spa-folder.ts';

/** @param parsed the keys that are valid in themselves; a rule about an absent one is skipped */
export function crossFaults(parsed: Partial<ParsedConfig>, httpIssuerAllowed: boolean): ConfigFault[] {
  const { api, basePath, login, logout, provider, redisUrl, spa, store } = parsed;
  return [
    ...addressFaults(parsed, httpIssuerAllowed),
    ...caFaults(provider?.caFile, 'provider.caFile', { of: 'issuer', address: parsed.issuer }),
    ...(parsed.client === undefined ? [] : clientFaults(parsed.client, parsed.issuer)),
    ...profileFaults(parsed),
    ...storeCaFaults(parsed),
    ...(spa === undefined ? [] : spaFaults(spa)),
    ...(store?.file === undefined ? [] : storeFileFaults(store.file, redisUrl)),
    ...(api === undefined ? [] : [...routeFaults(api, basePath), ...cookieFaults(api, parsed)]),
    ...(login === undefined ? [] : [...loginFaults(login.params), ...requestObjectFaults(login, parsed.client)]),
    ...(logout === undefined ? [] : logoutFaults(logout, parsed)),
    ...(parsed.pages === undefined ? [] : pagesFaults(parsed.pages)),
    ...drainFaults(parsed),
    ...secretFaults(parsed.secrets ?? []),
  ];
}

/** Whether a URL's host name is loopback: `localhost` or a name below it (RFC 6761 6.3), `127.0.0.1` or `[::1]`. */
export function isLoopback(hostname: string): boolean {
  return /^(?:(?:.+\.)?localhost|127\.0\.0\.1|\[::1\])$/.test(hostname);
}

function addressFaults({ origin, issuer }: Partial<ParsedConfig>, httpIssuerAllowed: boolean): ConfigFault[] {
  const faults: ConfigFault[] = [];
  if (origin !== undefined && isPlainHttp(origin) && !isLoopback(new URL(origin).hostname)) {
    faults.push({
      path: 'origin',
      reason: 'must be https: http is only for localhost, *.localhost, 127.0.0.1 and [::1]',
    });
  }
  if (issuer !== undefined && isPlainHttp(issuer) && !httpIssuerAllowed && !isLoopback(new URL(issuer).hostname)) {
    faults.push({
      path: 'issuer',
      reason: 'must be https: over http, anybody on the way could sign people in as anyone',
    });
  }
  return faults;
}

function isPlainHttp(url: string): boolean {
  return url.startsWith('http:');
}

function spaFaults(spa: NonNullable<ParsedConfig['spa']>): ConfigFault[] {
  if (spa.folder !== undefined && spa.devServer !== undefined) {
    return [{ path: 'spa', reason: 'has both a folder and a dev server; keep one' }];
  }
  const faults = policyFaults(spa);
  if (spa.folder === undefined) return faults;
  const reason = faultOfSpaFolder(spa.folder);
  if (reason !== undefined) return [...faults, { path: 'spa.folder', reason }];
  if (spa.nonce === undefined || holdsPlaceholder(spa.folder, spa.nonce)) return faults;
  return [
    ...faults,
    { path: 'spa.nonce', reason: `"${spa.nonce}" is not in the folder's index.html; build the app with it` },
  ];
}

function pagesFaults({ language, logoFile, texts }: ParsedConfig['pages']): ConfigFault[] {
  const faults: ConfigFault[] = [];
  const known = [...new Set([...Object.keys(pageTexts), ...Object.keys(texts)])].toSorted();
  if (!known.includes(language)) {
    const reason = `"${language}" has no texts; add them to pages.texts, or choose one of ${known.join(', ')}`;
    faults.push({ path: 'pages.language', reason });
  }
  const logo = logoFile === undefined ? undefined : readLogo(logoFile);
  if (logo !== undefined && 'fault' in logo) faults.push({ path: 'pages.logoFile', reason: logo.fault });
  return faults;
}

/** A header that replaces the policy leaves nothing to add to. */
function policyFaults({ csp, nonce, headers }: NonNullable<ParsedConfig['spa']>): ConfigFault[] {
  const replaced = Object.keys(headers).find((name) => name.toLowerCase() === 'content-security-policy');
  if (replaced === undefined) return [];
  const reason = `has no effect beside spa.headers["${replaced}"], which replaces the whole policy; keep one`;
  const without = [...(Object.keys(csp).length > 0 ? ['spa.csp'] : []), ...(nonce === undefined ? [] : ['spa.nonce'])];
  return without.map((path) => ({ path, reason }));
}

/** What else can be wrong with the file shows when it is opened. */
function storeFileFaults(file: string, redisUrl: string | undefined): ConfigFault[] {
  if (redisUrl !== undefined) {
    return [
      { path: 'store.file', reason: 'stands beside redisUrl; keep one: the file for one machine, Redis for several' },
    ];
  }
  const folder = dirname(resolve(file));
  if (existsSync(folder)) return [];
  const reason = `the folder "${folder}" does not exist; create it, or mount the volume that belongs there`;
  return [{ path: 'store.file', reason }];
}

/** Prefixes are compared without regard to case, because some APIs read their paths that way. */
function routeFaults(routes: ParsedConfig['api'], basePath = defaultBasePath): ConfigFault[] {
  const faults: ConfigFault[] = [];
  const seen = new Map<string, number>();
  const base = basePath.toLowerCase();
  for (const [index, route] of routes.entries()) {
    const path = `api.${index}.path`;
    const folded = route.path.toLowerCase();
    const twin = seen.get(folded);
    if (twin !== undefined) {
      faults.push({ path, reason: `"${route.path}" stands twice (also api.${twin}.path); keep one` });
    }
    seen.set(folded, index);
    faults.push(...caFaults(route.caFile, `api.${index}.caFile`, { of: 'target', address: route.target }));
    faults.push(...requirementFaults(route, `api.${index}.require`));
    for (const fault of routeCertificateFaults(route)) faults.push({ ...fault, path: `api.${index}.${fault.path}` });
    if (isWithin(folded, base) || isWithin(base, folded)) {
      faults.push({
        path,
        reason: `"${route.path}" overlaps the base path "${basePath}"; choose another prefix or basePath`,
      });
    }
  }
  return faults;
}

/** What can be known of nobody: a call without a session brings no claims, and a token that nobody asked about says none. */
function requirementFaults({ token, require }: ParsedConfig['api'][number], path: string): ConfigFault[] {
  if (require === undefined) return [];
  const ofPerson = Object.keys(require).filter((key) => key !== 'opa' && key !== 'from');
  if (letsStrangersPass(token)) {
    const reason =
      'needs a session, and `token` of this route lets calls pass without one; only `opa` may stand beside it';
    return ofPerson.map((key) => ({ path: `${path}.${key}`, reason }));
  }
  const asksProvider = token instanceof Object && ('introspect' in token || 'phantom' in token);
  if (require.from !== 'introspection' || asksProvider) return [];
  return [
    { path: `${path}.from`, reason: 'needs token: { introspect: true }, or phantom: nothing is introspected else' },
  ];
}

function letsStrangersPass(token: ParsedConfig['api'][number]['token']): boolean {
  if (token === 'none' || token === 'optional') return true;
  return token instanceof Object && 'client' in token && !token.client.session;
}

/** @param server whose certificate is checked; its address is undefined if that is a fault in itself */
function caFaults(
  file: string | undefined,
  path: string,
  server: { readonly of: string; readonly address: string | undefined },
): ConfigFault[] {
  if (file === undefined) return [];
  const { of, address = '' } = server;
  if (isPlainHttp(address)) return [{ path, reason: `is for an https: ${of}; remove it, or correct the ${of}` }];
  const reason = reasonAgainst(file);
  return reason === undefined ? [] : [{ path, reason }];
}

/** An address that is a fault in itself is absent here. */
function storeCaFaults({ redisUrl, store }: Partial<ParsedConfig>): ConfigFault[] {
  if (store?.caFile === undefined) return [];
  const path = 'store.caFile';
  if (redisUrl !== undefined && !parseRedisUrl(redisUrl).tls) {
    return [{ path, reason: 'is for an address with "rediss"; remove it, or write "rediss" in place of "redis"' }];
  }
  const reason = reasonAgainst(store.caFile);
  return reason === undefined ? [] : [{ path, reason }];
}

function reasonAgainst(caFile: string): string | undefined {
  if (!existsSync(caFile)) return `the file "${caFile}" does not exist; correct the path`;
  try {
    if (readFileSync(caFile, 'utf8').includes('-----BEGIN ')) return undefined;
    return `the file "${caFile}" holds no certificate in PEM form`;
  } catch {
    return `the file "${caFile}" cannot be read`;
  }
}

/**
 * A session cookie that passed to an API would let it act as the person on every route. Names are compared without regard
 * to case, as browsers compare their prefixes (RFC 6265bis 4.1.3), and with whatever follows: a chunk's number, a login's.
 */
function cookieFaults(routes: ParsedConfig['api'], { origin = '', session }: Partial<ParsedConfig>): ConfigFault[] {
  const words = `(?:${session?.cookieName ?? 'session'}|login|logout)`;
  const onLoopback = isPlainHttp(origin) ? `|${words}-\\d` : '';
  const own = new RegExp(`^(?:__Host-Http-${words}(?:[-.]|$)${onLoopback})`, 'i');
  return routes.flatMap(({ cookies }, index) =>
    cookies.flatMap((name, at) =>
      own.test(name)
        ? [{ path: `api.${index}.cookies.${at}`, reason: `"${name}" is a cookie of Sallyport's own; remove it` }]
        : [],
    ),
  );
}

/** Parameters that would make every login fail. */
function loginFaults({ max_age: maxAge, prompt = '' }: Readonly<Record<string, string>>): ConfigFault[] {
  const faults: ConfigFault[] = [];
  if (maxAge !== undefined && !/^\d{1,9}$/.test(maxAge)) {
    faults.push({ path: 'login.params.max_age', reason: 'must be a whole number of seconds, e.g. "3600"' });
  }
  // OpenID Connect Core 3.1.2.1.
  if (prompt !== 'none' && prompt.split(' ').includes('none')) {
    faults.push({
      path: 'login.params.prompt',
      reason: 'must not name "none" beside others: every provider refuses that',
    });
  }
  return faults;
}

function requestObjectFaults(
  { requestObject }: ParsedConfig['login'],
  client: ParsedConfig['client'] | undefined,
): ConfigFault[] {
  if (!requestObject || client === undefined || client.keyFile !== undefined) return [];
  const reason = 'needs a key to sign with: set SALLYPORT_CLIENT_KEY_FILE to the file of the private key';
  return [{ path: 'login.requestObject', reason }];
}

function logoutFaults({ returnTo, backchannel }: ParsedConfig['logout'], parsed: Partial<ParsedConfig>): ConfigFault[] {
  const faults = returnFaults(returnTo, parsed);
  if (backchannel !== 'shared' || parsed.redisUrl !== undefined) return faults;
  const reason =
    'is "shared", but there is no store that several machines share: set SALLYPORT_REDIS_URL, or write true if there is ' +
    'one machine only';
  return [...faults, { path: 'logout.backchannel', reason }];
}

/** A sign-out that came back to an endpoint or an API would run it by a navigation. */
function returnFaults(
  returnTo: string,
  { basePath = defaultBasePath, api = [] }: Partial<ParsedConfig>,
): ConfigFault[] {
  const { pathname } = new URL(returnTo, 'https://app.invalid');
  const path = pathname.replace(/%[0-7][0-9a-f]/gi, (escape) => decodeURIComponent(escape));
  const prefix = [basePath, ...api.map((route) => route.path)].find((own) => isWithin(path, own));
  if (prefix === undefined) return [];
  return [{ path: 'logout.returnTo', reason: `must be a page of the app, and not below "${prefix}"` }];
}

function drainFaults({ drain, drainSeconds = Infinity }: Partial<ParsedConfig>): ConfigFault[] {
  if (drain?.waitSeconds === undefined || drain.waitSeconds <= drainSeconds) return [];
  const reason = `must not be longer than drainSeconds (${drainSeconds}), of which it is the first part`;
  return [{ path: 'drain.waitSeconds', reason }];
}

/** Whoever writes one twice thinks that it rotates. */
function secretFaults(secrets: readonly string[]): ConfigFault[] {
  return secrets.flatMap((secret, index) => {
    const twin = secrets.indexOf(secret);
    return twin === index ? [] : [{ path: `secrets.${index}`, reason: `is the same as secrets.${twin}; keep one` }];
  });
}

/**
 * Looks for secrets where none may be: in logs, and in everything that a browser's JavaScript could have seen.
 */
import type { BrowserClient } from './browser-client.ts';
import type { SecretKind, TestProvider } from './provider.ts';

export interface SecretSearch {
  provider: TestProvider;
  /** Log lines; cookie values are secrets here as well. */
  logs?: readonly string[];
  /** Clients whose answers from `origin` are searched. `Set-Cookie` headers are left out: they are HttpOnly. */
  clients?: readonly BrowserClient[];
  /** The app's origin. Answers of other origins (the provider's redirects carry codes) are not searched. */
  origin: string;
  /** More canaries, with a name for the message. */
  planted?: Readonly<Record<string, string>>;
}

interface Finding {
  secret: string;
  place: string;
}

/**
 * Fails when a token, code, verifier, client secret, planted canary or (in logs) cookie value is found: plain,
 * URL-encoded, in base64 or in base64url.
 */
export function assertNoSecrets(search: SecretSearch): void {
  const secrets = [...search.provider.secrets].map(([value, kind]): [string, string] => [value, kind]);
  for (const [name, value] of Object.entries(search.planted ?? {})) secrets.push([value, name]);
  if (secrets.length < 2) throw new Error('nothing to look for: has anyone signed in?');

  const cookieValues = (search.clients ?? []).flatMap((client) => cookiesOf(client, search.origin));
  const findings = [
    ...findInLines('log line', search.logs ?? [], [...secrets, ...cookieValues]),
    ...(search.clients ?? []).flatMap((client) => findInLines('answer', answersOf(client, search.origin), secrets)),
  ];
  if (findings.length === 0) return;
  const list = findings.map(({ secret, place }) => `  ${secret} in ${place}`).join('\n');
  throw new Error(`secrets found:\n${list}`);
}

/** The kinds of secrets that `text` contains. */
export function secretsIn(text: string, provider: TestProvider): SecretKind[] {
  return [...provider.secrets]
    .filter(([value]) => spellings(value).some((spelling) => text.includes(spelling)))
    .map(([, kind]) => kind);
}

function findInLines(what: string, lines: readonly string[], secrets: ReadonlyArray<[string, string]>): Finding[] {
  const findings: Finding[] = [];
  for (const [value, name] of secrets) {
    const forms = spellings(value);
    for (const line of lines) {
      const form = forms.find((spelling) => line.includes(spelling));
      if (form === undefined) continue;
      const at = line.indexOf(form);
      const around = line.slice(Math.max(0, at - 80), at);
      findings.push({ secret: name, place: `${what} …${around}[here]` });
    }
  }
  return findings;
}

function spellings(value: string): string[] {
  const bytes = Buffer.from(value);
  const all = [
    value,
    encodeURIComponent(value),
    bytes.toString('base64').replace(/=+$/, ''),
    bytes.toString('base64url'),
  ];
  return [...new Set(all)];
}

function answersOf(client: BrowserClient, origin: string): string[] {
  return client.seen
    .filter((seen) => new URL(seen.url).origin === origin)
    .map((seen) => `${withoutHint(seen.head)}\n${seen.body.toString('latin1')}`);
}

/**
 * The redirect to the provider's end-session endpoint carries the ID token, as RP-Initiated Logout wants it: the browser
 * navigates there, and no script sees it. Anywhere else an ID token is a finding.
 */
function withoutHint(head: string): string {
  return head.replace(/(\nlocation\nhttps?:[^\n]*[?&]id_token_hint=)[^&\n]+/i, '$1');
}

function cookiesOf(client: BrowserClient, origin: string): Array<[string, string]> {
  return client.cookies
    .for(origin)
    .filter((cookie) => cookie.value.length >= 16)
    .map((cookie) => [cookie.value, `value of cookie ${cookie.name}`]);
}

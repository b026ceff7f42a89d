/**
 * The names of Sallyport's cookies as a browser has them. Tests write the plain ones, `session`, `session.1`, `login-…` and
 * `logout`: an http origin adds its port, an https origin the prefix.
 */

/** The name of a cookie of the app at `origin`, from its plain one; of a name's beginning, too. */
export function cookieName(plain: string, origin: string): string {
  const { protocol, port } = new URL(origin);
  if (protocol === 'https:') return `__Host-Http-${plain}`;
  const [, word = '', rest = ''] = /^(session|login|logout)(.*)$/s.exec(plain) ?? [];
  return word === '' ? plain : `${word}-${port === '' ? '80' : port}${rest}`;
}

/** A Cookie header, or a line of Set-Cookie, whose names at the begin of a pair are plain. */
export function withCookieNames(text: string, origin: string): string {
  return text.replace(/(?<=^|;\s*)(?:session(?:\.[1-9])?|login-[\w-]*|logout)(?=\s*(?:=|;|$))/g, (plain) =>
    cookieName(plain, origin),
  );
}

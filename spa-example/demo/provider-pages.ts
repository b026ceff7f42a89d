/** The demo provider's pages: sign-in, sign-out and errors. Every value is escaped by `html`. */
import { html, raw } from 'hono/html';
import { demoUsers } from './users.ts';

/** Where the provider serves the files that its pages link to. */
export const pageFiles = {
  style: '/assets/style.css',
  icon: '/assets/favicon.svg',
  submit: '/assets/submit.js',
} as const;

/** Submits the page's only form; a file of its own, for the pages' content policy allows no inline script. */
export const submitScript = 'document.forms[0].submit();\n';

/**
 * The pages' content security policy: nothing but the provider's own files.
 * @param appOrigins - where a sent form may be redirected to; browsers check `form-action` along the whole chain.
 */
export function contentSecurityPolicy(appOrigins: readonly string[]): string {
  return [
    "default-src 'none'",
    "style-src 'self'",
    "script-src 'self'",
    "img-src 'self'",
    ["form-action 'self'", ...appOrigins].join(' '),
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}

export interface SignInPage {
  action: string;
  username: string;
  /** Whether a PIN is asked for beside the password. */
  asksPin: boolean;
  /** Set after a wrong name or password. */
  error: string | undefined;
}

export function renderSignIn(page: SignInPage): Promise<string> {
  const alert = page.error === undefined ? '' : html`<p class="banner banner-error" role="alert">${page.error}</p>`;
  const pin = page.asksPin
    ? html`<label class="field"
        >PIN
        <input name="pin" type="password" inputmode="numeric" autocomplete="one-time-code" required />
      </label>`
    : '';
  return renderPage(
    page.asksPin ? 'Confirm that it is you' : 'Sign in',
    html`<p class="lead">to go on to the <strong>Sallyport example</strong></p>
      ${alert}
      <form class="stack" method="post" action="${page.action}">
        <label class="field"
          >User name
          <input
            name="username"
            autocomplete="username"
            autocapitalize="none"
            spellcheck="false"
            required
            autofocus
            value="${page.username}"
          />
        </label>
        <label class="field"
          >Password
          <input name="password" type="password" autocomplete="current-password" required />
        </label>
        ${pin}
        <button class="button button-primary" name="choice" value="sign-in">Sign in</button>
        <button class="button button-quiet" name="choice" value="cancel" formnovalidate>Cancel</button>
      </form>
      <section class="hints" aria-label="Demo users">
        <h2>Demo users</h2>
        <ul>
          ${demoUsers.map(
            (user) =>
              html`<li>
                <span
                  ><code>${user.username}</code> /
                  <code>${user.password}</code>${page.asksPin ? html` / <code>${user.pin}</code>` : ''}</span
                >
                <span class="muted">${user.name}, ${user.email}</span>
              </li>`,
          )}
        </ul>
      </section>`,
  );
}

/**
 * The page between the app's sign-out link and the app's start page.
 * @param form - oidc-provider's own form, with its protection against forged requests.
 * @param confirmed - the app proved with an ID token for whom it asks, so the form sends itself.
 */
export function renderSignOut(form: string, confirmed: boolean): Promise<string> {
  const script = confirmed ? html`<script src="${pageFiles.submit}" defer></script>` : '';
  const choice = confirmed
    ? html`<input type="hidden" name="logout" value="yes" form="op.logoutForm" />
        <button class="button button-primary" form="op.logoutForm">Continue</button>`
    : html`<button class="button button-primary" form="op.logoutForm" name="logout" value="yes">Sign out</button>
        <button class="button button-quiet" form="op.logoutForm">Stay signed in here</button>`;
  return renderPage(
    confirmed ? 'Signing out' : 'Sign out of Demo ID?',
    html`<p class="lead">The app has already ended its own session.</p>
      ${raw(form)}
      <div class="stack">${choice}</div>
      ${script}`,
  );
}

export function renderSignedOut(): Promise<string> {
  return renderPage('You are signed out', html`<p class="lead">You can close this page.</p>`);
}

export function renderFailure(title: string, detail: string): Promise<string> {
  return renderPage(title, html`<p class="lead" role="alert">${detail}</p>`);
}

async function renderPage(title: string, content: ReturnType<typeof html>): Promise<string> {
  const page = await html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title} - Demo ID</title>
        <link rel="icon" href="${pageFiles.icon}" />
        <link rel="stylesheet" href="${pageFiles.style}" />
      </head>
      <body class="provider">
        <main class="card provider-card">
          <p class="brand"><span class="provider-mark" aria-hidden="true">ID</span>Demo ID</p>
          <h1>${title}</h1>
          ${content}
          <p class="small muted">A pretend identity provider, on an origin of its own.</p>
        </main>
      </body>
    </html>`;
  // Hono's templates give a String object, which HTTP responses refuse.
  return page.toString();
}

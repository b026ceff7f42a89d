/** A small app that does with `sallyport/browser` what apps do: a private page, a form, signing in again in a popup. */
import { readdirSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';

const source = join(import.meta.dirname, '..', '..', 'src');

/** The module as files for a browser, which imports TypeScript by no other way. */
function browserModule(): Record<string, string> {
  const files = readdirSync(join(source, 'browser')).filter((name) => name.endsWith('.ts'));
  return Object.fromEntries(
    [...files.map((name) => `browser/${name}`), 'session-view.ts'].map((name) => [
      `sallyport/${name.replace(/\.ts$/, '.js')}`,
      stripTypeScriptTypes(readFileSync(join(source, name), 'utf8')).replaceAll(/(from '\.[^']+)\.ts'/g, "$1.js'"),
    ]),
  );
}

const indexHtml = `<!doctype html><title>App</title>
<p id="who">…</p><p id="private"></p><p id="saved"></p>
<textarea id="draft"></textarea><button id="save">Save</button>
<button id="sign-in">Sign in</button><button id="sign-out">Sign out</button>
<dialog><p>Your session is over.</p><button id="again">Sign in again</button></dialog>
<script type="module" src="/app.js"></script>`;

/** `window.told` is what the module has told, one word a change; `window.sallyport` the instance. */
const appScript = `
import { createSallyport } from '/sallyport/browser/index.js';
const at = (selector) => document.querySelector(selector);
const dialog = at('dialog');
const sallyport = createSallyport({
  onLoginRequired: ({ loginUrl }) => {
    dialog.showModal();
    return new Promise((resolve) => {
      at('#again').onclick = () => {
        dialog.close();
        sallyport.login({ popup: true, url: loginUrl }).then(() => resolve(true), () => resolve(false));
      };
    });
  },
});
window.sallyport = sallyport;
window.told = [];
sallyport.subscribe((session) => {
  told.push(session.authenticated ? session.user.name : 'signed out' + (session.reason ? ': ' + session.reason : ''));
  at('#who').textContent = told.at(-1);
  if (!session.authenticated) at('#private').textContent = '';
  else showOrders();
});
async function showOrders() {
  const answer = await sallyport.apiFetch('/api/orders');
  at('#private').textContent = answer.ok ? 'orders of ' + (await answer.json()).sub : '';
}
at('#save').onclick = async () => {
  const body = new Blob([at('#draft').value], { type: 'text/plain' });
  at('#saved').textContent = '';
  at('#saved').textContent = 'saved: ' + (await sallyport.apiFetch('/api/draft', { method: 'POST', body })).status;
};
at('#sign-in').onclick = () => sallyport.login();
at('#sign-out').onclick = () => sallyport.logout();
`;

/** The files of {@link WorldOptions.spa}. */
export function smallApp(): Record<string, string> {
  return { 'index.html': indexHtml, 'app.js': appScript, ...browserModule() };
}

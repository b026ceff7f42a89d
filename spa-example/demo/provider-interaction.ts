/** What a person does at the demo provider: sign in, or give up. Consent is implied, for the app is first-party. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import type { InteractionResults, Provider } from 'oidc-provider';
import { renderFailure, renderSignIn } from './provider-pages.ts';
import { verifyPassword } from './users.ts';

/** The sign-in with name, password and PIN, as `acr` names it. */
export const pinSignIn = 'urn:example:pin';
/** Why the person is asked: the app wants the stronger sign-in, and theirs was without a PIN. */
export const pinMissing = 'pin_missing';

const maxFormBytes = 4096;

/** Answers `/interaction/…`, whither the provider sends a browser when it needs something from the person. */
export async function handleInteraction(
  provider: Provider,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const interaction = await findInteraction(provider, request, response);
  if (!interaction) {
    const detail = 'This sign-in has expired or was finished already. Go back to the app and sign in again.';
    await sendPage(response, 400, renderFailure('Start again', detail));
    return;
  }
  const finish = (result: InteractionResults): Promise<void> =>
    provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });

  if (interaction.prompt.name === 'consent') {
    // All that the app may ask for is granted beforehand; asking for more would otherwise bring the browser back here.
    const asksForMore = interaction.prompt.reasons.some((reason) => reason.endsWith('_missing'));
    const denial = { error: 'access_denied', error_description: 'The app asked for more than it may have.' };
    await finish(asksForMore ? denial : { consent: {} });
    return;
  }
  const action = `/interaction/${interaction.uid}`;
  const asksPin = interaction.prompt.reasons.includes(pinMissing);
  if (request.method !== 'POST') {
    const hint = interaction.params['login_hint'] ?? interaction.session?.accountId;
    const username = typeof hint === 'string' ? hint : '';
    await sendPage(response, 200, renderSignIn({ action, username, asksPin, error: undefined }));
    return;
  }
  const form = await readForm(request);
  if (form === undefined) {
    await sendPage(response, 413, renderFailure('Too much', 'The form is larger than a name and a password can be.'));
    return;
  }
  if (form.get('choice') === 'cancel') {
    await finish({ error: 'access_denied', error_description: 'The person cancelled the sign-in.' });
    return;
  }
  const username = form.get('username') ?? '';
  const user = verifyPassword(username, form.get('password') ?? '');
  if (!user || (asksPin && form.get('pin') !== user.pin)) {
    const error = asksPin ? 'Name, password and PIN do not match.' : 'That name and password do not match.';
    await sendPage(response, 401, renderSignIn({ action, username, asksPin, error }));
    return;
  }
  await finish({ login: { accountId: user.username, ...(asksPin ? { acr: pinSignIn } : {}) } });
}

async function findInteraction(
  provider: Provider,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<Awaited<ReturnType<Provider['interactionDetails']>> | undefined> {
  try {
    return await provider.interactionDetails(request, response);
  } catch (error) {
    if (error instanceof Error && error.name === 'SessionNotFound') return undefined;
    throw error;
  }
}

async function readForm(request: IncomingMessage): Promise<URLSearchParams | undefined> {
  // A browser's form always announces its length, so what comes without one isn't ours.
  const length = Number(request.headers['content-length'] ?? Number.NaN);
  if (!(length <= maxFormBytes)) return undefined;
  return new URLSearchParams(await text(request));
}

async function sendPage(response: ServerResponse, status: number, page: Promise<string>): Promise<void> {
  const headers = { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' };
  response.writeHead(status, headers).end(await page);
}

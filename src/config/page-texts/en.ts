import type { PageTexts } from './texts.ts';

export const en: PageTexts = {
  signIn: 'Sign in',
  goToApp: 'Go to the app',
  continue: 'Continue',
  closeWindow: 'Close this window',
  whatDoesThisMean: 'What does this mean?',
  signingIn: 'Signing in',
  signedIn: 'Signed in',
  signingOut: 'Signing out',
  oneMoment: 'One moment …',
  openingApp: 'Opening the app …',
  signedOutTitle: 'You are signed out',
  signedOutText: 'To use the app again, sign in.',
  signedOut: 'Signed out',
  popupTitle: 'You are signed in',
  popupText: 'You can close this window.',
  details: 'Details',
  code: 'Code',
  request: 'Request',
  errors: {
    login_required: { title: 'Please sign in', text: 'You have to be signed in to see this.' },
    session_expired: { title: 'Please sign in again', text: 'Your session has ended.' },
    step_up_required: {
      title: 'Please confirm that it is you',
      text: 'This needs a stronger or more recent sign-in. Sign in again to go on.',
    },
    repeat_required: { title: 'Please try again', text: 'What you sent did not arrive. Send it once more.' },
    navigation_required: {
      title: 'Please open the sign-in page',
      text: 'Signing in works only in a window or a tab of its own.',
    },
    request_forbidden: {
      title: 'Request refused',
      text: 'It does not come from the app itself. Open the app, and try again from there.',
    },
    access_denied: {
      title: 'You may not do this',
      text: 'Your account does not have the permission that this needs. If you should have it, ask your support team.',
    },
    request_invalid: {
      title: 'Invalid request',
      text: 'It cannot be processed as it is. Go back to the app, and try again.',
    },
    login_transaction_invalid: {
      title: 'This sign-in cannot be completed',
      text: 'It was completed before, took too long, or was started in another browser. Please sign in again.',
    },
    return_to_invalid: {
      title: 'This sign-in link does not work',
      text: 'It does not lead to a page of this app. Open the app, and sign in from there.',
    },
    logout_sid_invalid: {
      title: 'This sign-out link does not work',
      text: 'It belongs to another session. You are still signed in: sign out from within the app.',
    },
    authorization_failed: {
      title: 'Sign-in failed',
      text: 'You have not been signed in. Try again; if that does not help, ask your support team.',
    },
    provider_unavailable: {
      title: 'Sign-in is unavailable at the moment',
      text: 'The identity provider cannot be used right now. Please try again in a moment.',
    },
    store_unavailable: {
      title: 'The app is unavailable at the moment',
      text: 'Your session cannot be checked right now. You have not been signed out: please try again in a moment.',
    },
    upstream_unavailable: {
      title: 'The app is unavailable at the moment',
      text: 'A server of this app cannot be reached. Please try again in a moment.',
    },
    upstream_timeout: {
      title: 'That took too long',
      text: 'A server of this app did not answer in time. Please try again in a moment.',
    },
    route_not_found: { title: 'Page not found', text: 'There is nothing at this address.' },
    method_not_allowed: { title: 'That does not work here', text: 'This address does not take such requests.' },
    body_too_large: { title: 'That is too large', text: 'You sent more than this app accepts.' },
    too_many_requests: {
      title: 'Too many requests',
      text: 'The app is very busy at the moment. Please try again in a moment.',
    },
    internal_error: {
      title: 'Something went wrong',
      text: 'Please try again. If it keeps happening, tell your support team the request number below.',
    },
    setup: {
      title: 'The sign-in is not set up correctly',
      text: 'You cannot mend this yourself. Please tell those who run this app.',
    },
    sign_in_too_weak: {
      title: 'This sign-in is not enough',
      text: 'The sign-in service did not check as much as this app needs for what you wanted to do. Nothing has changed: go back to the app. If it happens again, ask your support team.',
    },
  },
};

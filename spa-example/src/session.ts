/**
 * All that this app has of its own about signing in: what happens to a call when the session is over, and when the API asks
 * for a stronger sign-in. The rest is `sallyport/browser` and `sallyport/react`.
 */
import { createSallyport } from 'sallyport/browser';
import type { SallyportProblem, SignedOutReason } from 'sallyport/browser';

/** The API asks for a stronger sign-in: a click of the person answers, for browsers open popups only after one. */
export interface StepUp {
  readonly problem: SallyportProblem;
  readonly answer: (mayRepeat: boolean) => void;
}

export const sallyport = createSallyport({
  // The dialog for this shows by itself, because the session is known to be over. Here the call waits for its outcome.
  onLoginRequired: () => new Promise<boolean>((resolve) => waitForSignIn(resolve)),
  onStepUpRequired: (problem) =>
    new Promise<boolean>((resolve) => {
      setStepUp({
        problem,
        answer: (mayRepeat) => {
          setStepUp(undefined);
          resolve(mayRepeat);
        },
      });
    }),
});

const meantToEnd = new Set<SignedOutReason | undefined>(['logout', 'backchannel', 'operator', 'signal']);

/** Whether the person, or somebody in charge, meant them to be out: then nothing of theirs stays on the screen. */
export function isMeant(reason: SignedOutReason | undefined): boolean {
  return meantToEnd.has(reason);
}

const givenUp = new EventTarget();
let person: unknown;
sallyport.subscribe((view) => {
  if (view.authenticated) person = view.user['sub'];
});

/** The person doesn't want to sign in again: calls that wait for it fail. */
export function giveUp(): void {
  givenUp.dispatchEvent(new Event('given-up'));
}

function waitForSignIn(settle: (mayRepeat: boolean) => void): void {
  const before = person;
  const onGivenUp = (): void => finish(false);
  const unsubscribe = sallyport.subscribe((view) => {
    // What one person has sent must not be repeated in another's name.
    if (view.authenticated) finish(view.user['sub'] === before);
    else if (isMeant(view.reason)) finish(false);
  });
  givenUp.addEventListener('given-up', onGivenUp);

  function finish(mayRepeat: boolean): void {
    unsubscribe();
    givenUp.removeEventListener('given-up', onGivenUp);
    settle(mayRepeat);
  }
}

const stepUpListeners = new Set<() => void>();
let stepUp: StepUp | undefined;

function setStepUp(next: StepUp | undefined): void {
  stepUp = next;
  for (const listener of stepUpListeners) listener();
}

/** For `useSyncExternalStore`: the question that is open. */
export const stepUpQuestion = {
  subscribe: (listener: () => void): (() => void) => {
    stepUpListeners.add(listener);
    return () => void stepUpListeners.delete(listener);
  },
  current: () => stepUp,
};

/** Takes the note `?login=required` off the address: Sallyport leaves it when `prompt=none` found nobody signed in. */
export function takeLoginRequired(): boolean {
  const address = new URL(window.location.href);
  if (address.searchParams.get('login') !== 'required') return false;
  address.searchParams.delete('login');
  window.history.replaceState(null, '', address);
  return true;
}

import type { ReactNode } from 'react';
import { Dialog } from './dialog.tsx';
import { usePopupLogin } from './popup-login.ts';
import { sallyport, type StepUp } from './session.ts';

/** Shows while a call waits for a stronger or fresher sign-in: beside the page, or in its place and then without the call. */
export function StepUpDialog({ question: { problem, answer } }: { question: StepUp }): ReactNode {
  const { message, open } = usePopupLogin({ url: problem.loginUrl ?? '/bff/login' });

  async function confirm(): Promise<void> {
    if (await open()) answer(true);
  }

  return (
    <Dialog title="Confirm that it is you" onCancel={() => answer(false)}>
      <p>
        {problem.acrValues
          ? 'The API wants a stronger sign-in for this: with a PIN beside the password.'
          : `The API wants a fresh sign-in for this: one of the last ${problem.maxAge ?? 0} seconds.`}{' '}
        From a small window the call is then made once more; on this page you come back and repeat it.
      </p>
      <p className="small muted" role="status">
        {message}
      </p>
      <div className="actions">
        <button type="button" className="button button-primary" onClick={() => void confirm()}>
          Confirm in a small window
        </button>
        <button
          type="button"
          className="button"
          onClick={() => void sallyport.login({ url: problem.loginUrl ?? '/bff/login' })}
        >
          Confirm on this page
        </button>
        <button type="button" className="button button-quiet" onClick={() => answer(false)}>
          Not now
        </button>
      </div>
    </Dialog>
  );
}

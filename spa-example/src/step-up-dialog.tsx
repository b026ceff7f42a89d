import type { ReactNode } from 'react';
import { Dialog } from './dialog.tsx';
import { usePopupLogin } from './popup-login.ts';
import type { StepUp } from './session.ts';

/** Shows while a call waits for a stronger sign-in. */
export function StepUpDialog({ question: { problem, answer } }: { question: StepUp }): ReactNode {
  const { message, open } = usePopupLogin({ url: problem.loginUrl ?? '/bff/login' });

  async function confirm(): Promise<void> {
    if (await open()) answer(true);
  }

  return (
    <Dialog title="Confirm that it is you" onCancel={() => answer(false)}>
      <p>The API wants a stronger sign-in for this: with a PIN beside the password. The call is then made once more.</p>
      <p className="small muted" role="status">
        {message}
      </p>
      <div className="actions">
        <button type="button" className="button button-primary" onClick={() => void confirm()}>
          Confirm in a small window
        </button>
        <button type="button" className="button button-quiet" onClick={() => answer(false)}>
          Not now
        </button>
      </div>
    </Dialog>
  );
}

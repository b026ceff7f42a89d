import type { ReactNode } from 'react';
import { Dialog } from './dialog.tsx';
import { usePopupLogin } from './popup-login.ts';
import { giveUp } from './session.ts';

/** Above a page whose session is over: the sign-in opens beside it, and nothing typed is lost. */
export function SignInAgain({ onLeave }: { onLeave: () => void }): ReactNode {
  const { message, open } = usePopupLogin({});

  function leave(): void {
    giveUp();
    onLeave();
  }

  return (
    <Dialog title="Your session is over" onCancel={leave}>
      <p>What you have typed is still here. Sign in in a small window, and go on where you were.</p>
      <p className="small muted" role="status">
        {message}
      </p>
      <div className="actions">
        <button type="button" className="button button-primary" onClick={() => void open()}>
          Sign in again
        </button>
        <button type="button" className="button button-quiet" onClick={leave}>
          Leave this page
        </button>
      </div>
    </Dialog>
  );
}

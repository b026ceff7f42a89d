/** The whole app: the signed-out or the signed-in page, and what happens between them. */
import { useCallback, useState, useSyncExternalStore } from 'react';
import type { ReactNode } from 'react';
import type { SignedOutReason } from 'sallyport/browser';
import { useSession } from 'sallyport/react';
import type { SessionState, SignedInSession } from 'sallyport/react';
import readmeUrl from '../README.md?url';
import { GateIcon } from './gate-icon.tsx';
import { isMeant, stepUpQuestion } from './session.ts';
import { SignInAgain } from './sign-in-again.tsx';
import { SignedInPage } from './signed-in-page.tsx';
import { SignedOutPage } from './signed-out-page.tsx';
import { StepUpDialog } from './step-up-dialog.tsx';

const notices: Partial<Record<SignedOutReason, string>> = {
  logout: 'You have signed out, here or from another of your sessions.',
  backchannel: 'You have signed out at the provider.',
  operator: 'An operator has ended your session.',
};

export function App({ loginRequired }: { loginRequired: boolean }): ReactNode {
  const session = useSession();
  // The page of the last person stays while they sign in again, with all that they have typed.
  const [last, setLast] = useState<SignedInSession>();
  if (session.status === 'signed-in' && session !== last) setLast(session);
  if (session.status === 'signed-out' && last !== undefined && isMeant(session.reason)) setLast(undefined);
  const stepUp = useSyncExternalStore(stepUpQuestion.subscribe, stepUpQuestion.current);
  const [hasLeft, setHasLeft] = useState(false);
  const leave = useCallback(() => {
    setLast(undefined);
    setHasLeft(true);
  }, []);

  const shown = session.status === 'signed-in' ? session : last;
  const isOver = session.status === 'signed-out' && last !== undefined;

  return (
    <div className="page">
      <a className="skip-link" href="#main">
        Skip to the content
      </a>
      {shown ? (
        <>
          {/* Another person gets another page, and nothing of this one's. */}
          <SignedInPage key={shown.user.sub} session={shown} isOver={isOver} />
          {/* A stronger sign-in is a sign-in: while one is asked for, there is no second question. */}
          {stepUp && <StepUpDialog question={stepUp} />}
          {isOver && !stepUp && <SignInAgain onLeave={leave} />}
        </>
      ) : (
        <Outside session={session} notice={noticeFor(session, hasLeft, loginRequired)} />
      )}
      <footer className="footer">
        <p className="small muted">
          No token in this tab, ever. <a href={readmeUrl}>Put your own app behind Sallyport</a> (spa-example/README.md)
        </p>
      </footer>
    </div>
  );
}

function noticeFor(session: SessionState, hasLeft: boolean, loginRequired: boolean): string | undefined {
  if (session.reason !== undefined) return notices[session.reason] ?? 'Your session is over. Sign in to go on.';
  if (hasLeft) return 'Your session is over. Sign in to go on.';
  return loginRequired ? 'The provider does not know you yet: sign in once.' : undefined;
}

function Outside({ session, notice }: { session: SessionState; notice: string | undefined }): ReactNode {
  if (session.status === 'signed-out') return <SignedOutPage notice={notice} onSignIn={session.login} />;
  if (session.error === undefined) {
    return (
      <main id="main" tabIndex={-1} className="center" aria-busy="true">
        <h1 className="visually-hidden">Sallyport example</h1>
        <p className="muted" role="status">
          Loading…
        </p>
      </main>
    );
  }
  return (
    <main id="main" tabIndex={-1} className="center">
      <section className="card notice-card">
        <GateIcon />
        <h1>The server does not answer</h1>
        <p role="alert">This page looks again by itself, and goes on when it is back.</p>
        <button type="button" className="button button-primary" onClick={() => window.location.reload()}>
          Load again
        </button>
      </section>
    </main>
  );
}

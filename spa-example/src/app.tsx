/** The whole app: asks once who is there, then shows the signed-out or the signed-in page. */
import { useCallback, useEffect, useRef, useState } from 'react';
import type { ReactNode } from 'react';
import readmeUrl from '../README.md?url';
import { GateIcon } from './gate-icon.tsx';
import { describeError } from './problem.ts';
import type { CallError } from './problem.ts';
import { readSession, takeLoginRequired } from './session.ts';
import type { SignedIn } from './session.ts';
import { SignedInPage } from './signed-in-page.tsx';
import { SignedOutPage } from './signed-out-page.tsx';

type View =
  | { page: 'loading' }
  | { page: 'failed'; message: string }
  | { page: 'signed-out'; loginUrl: string; notice: string | undefined }
  | { page: 'signed-in'; session: SignedIn; readAt: number };

const defaultLoginUrl = '/bff/login';
const sessionOver = 'Your session is over. Sign in to go on.';

export function App(): ReactNode {
  const [view, setView] = useState<View>({ page: 'loading' });
  // Taken off the address at once, but told only when the session has been read (twice in React's strict mode).
  const loginRequired = useRef(false);

  const load = useCallback(async () => {
    try {
      const session = await readSession();
      if (session.authenticated) {
        setView({ page: 'signed-in', session, readAt: Date.now() });
        return;
      }
      const { loginUrl } = session;
      setView((before) => ({ page: 'signed-out', loginUrl, notice: noticeAfter(before, loginRequired.current) }));
    } catch (error) {
      // A failed second look doesn't take a working page away: the next call tells what is wrong.
      const failed: View = { page: 'failed', message: describeError(error) };
      setView((before) => (before.page === 'loading' || before.page === 'failed' ? failed : before));
    }
  }, []);

  useEffect(() => {
    loginRequired.current ||= takeLoginRequired();
    void load();
    const reloadWhenSeen = (): void => {
      if (document.visibilityState === 'visible') void load();
    };
    document.addEventListener('visibilitychange', reloadWhenSeen);
    return () => document.removeEventListener('visibilitychange', reloadWhenSeen);
  }, [load]);

  // Only the page changes: signing in again is the person's decision, so that nothing can loop.
  const endSession = useCallback((error: CallError) => {
    const loginUrl = error.loginUrl ?? defaultLoginUrl;
    setView({ page: 'signed-out', loginUrl, notice: sessionOver });
  }, []);

  return (
    <div className="page">
      {renderView(view, { load, endSession })}
      <footer className="footer">
        <p className="small muted">
          No token in this tab, ever. <a href={readmeUrl}>Put your own app behind Sallyport</a> (spa-example/README.md)
        </p>
      </footer>
    </div>
  );
}

/** Tells why the person sees the signed-out page; a second look at the same page changes nothing. */
function noticeAfter(before: View, loginRequired: boolean): string | undefined {
  if (before.page === 'signed-in') return sessionOver;
  if (before.page === 'signed-out') return before.notice;
  return loginRequired ? 'The provider does not know you yet: sign in once.' : undefined;
}

interface Actions {
  load: () => Promise<void>;
  endSession: (error: CallError) => void;
}

function renderView(view: View, actions: Actions): ReactNode {
  switch (view.page) {
    case 'loading':
      return (
        <main className="center" aria-busy="true">
          <p className="muted" role="status">
            Loading…
          </p>
        </main>
      );
    case 'failed':
      return (
        <main className="center">
          <section className="card notice-card">
            <GateIcon />
            <h1>This did not work</h1>
            <p role="alert">{view.message}</p>
            <button type="button" className="button button-primary" onClick={() => void actions.load()}>
              Try again
            </button>
          </section>
        </main>
      );
    case 'signed-out':
      return <SignedOutPage loginUrl={view.loginUrl} notice={view.notice} />;
    case 'signed-in':
      return (
        <SignedInPage
          session={view.session}
          readAt={view.readAt}
          onSessionChange={actions.load}
          onSessionOver={actions.endSession}
        />
      );
    default:
      return view satisfies never;
  }
}

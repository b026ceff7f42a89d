import { useCallback, useMemo, useState } from 'react';
import type { ReactNode } from 'react';
import { createApi } from './api.ts';
import type { CallRecord } from './api.ts';
import { BurstPanel } from './burst-panel.tsx';
import { CallLog } from './call-log.tsx';
import { GateIcon } from './gate-icon.tsx';
import { NotesPanel } from './notes-panel.tsx';
import type { CallError } from './problem.ts';
import { SessionPanel } from './session-panel.tsx';
import type { SignedIn } from './session.ts';

export interface SignedInPageProps {
  session: SignedIn;
  /** When the session was read, as `Date.now()` counts: its relative times start there. */
  readAt: number;
  /** Reads the session anew. */
  onSessionChange: () => Promise<void>;
  onSessionOver: (error: CallError) => void;
}

const loggedCalls = 6;

export function SignedInPage({ session, readAt, onSessionChange, onSessionOver }: SignedInPageProps): ReactNode {
  const [calls, setCalls] = useState<CallRecord[]>([]);
  const onCall = useCallback(
    (record: CallRecord) => {
      setCalls((before) => [record, ...before].slice(0, loggedCalls));
      // Any call may have renewed the access token, and its remaining time with it.
      void onSessionChange();
    },
    [onSessionChange],
  );
  const api = useMemo(() => createApi({ onCall, onSessionOver }), [onCall, onSessionOver]);
  const { user } = session;

  return (
    <>
      <header className="topbar">
        <p className="brand">
          <GateIcon />
          Sallyport
        </p>
        <div className="person">
          <p>
            <strong>{user.name ?? user.sub}</strong>
            {user.email !== undefined && <span className="muted">{user.email}</span>}
          </p>
          <a className="button" href={session.logoutUrl}>
            Sign out
          </a>
        </div>
      </header>
      <main className="grid">
        <div className="column">
          <NotesPanel api={api} />
          <CallLog calls={calls} />
        </div>
        <div className="column">
          <SessionPanel session={session} readAt={readAt} onExpired={onSessionChange} />
          <BurstPanel api={api} onDone={onSessionChange} />
        </div>
      </main>
    </>
  );
}

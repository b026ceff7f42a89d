import { useCallback, useMemo, useState } from 'react';
import type { ReactNode } from 'react';
import type { SignedInSession } from 'sallyport/react';
import { createApi } from './api.ts';
import type { CallRecord } from './api.ts';
import { BurstPanel } from './burst-panel.tsx';
import { CallLog } from './call-log.tsx';
import { EndWarning } from './end-warning.tsx';
import { GateIcon } from './gate-icon.tsx';
import { NotesPanel } from './notes-panel.tsx';
import { SearchPanel } from './search-panel.tsx';
import { SessionPanel } from './session-panel.tsx';
import { SessionsPanel } from './sessions-panel.tsx';
import { StrongboxPanel } from './strongbox-panel.tsx';
import { TimelinePanel, useTimeline } from './timeline-panel.tsx';

export interface SignedInPageProps {
  session: SignedInSession;
  /** The session is over, and the person is asked to sign in again: nobody is to read what is here meanwhile. */
  isOver: boolean;
}

const loggedCalls = 5;

export function SignedInPage({ session, isOver }: SignedInPageProps): ReactNode {
  const [calls, setCalls] = useState<CallRecord[]>([]);
  const onCall = useCallback((record: CallRecord) => {
    setCalls((before) => [record, ...before].slice(0, loggedCalls));
  }, []);
  const api = useMemo(() => createApi(onCall), [onCall]);
  const timeline = useTimeline();
  const { user, logout } = session;

  return (
    <div className={isOver ? 'page-content page-over' : 'page-content'} inert={isOver}>
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
          <button type="button" className="button" onClick={() => void logout()}>
            Sign out
          </button>
        </div>
      </header>
      <main id="main" tabIndex={-1} className="grid">
        <h1 className="visually-hidden">Sallyport example</h1>
        <EndWarning />
        <div className="column">
          <NotesPanel api={api} person={user.sub} />
          <BurstPanel api={api} />
          <CallLog calls={calls} />
          <StrongboxPanel api={api} />
        </div>
        <div className="column">
          <SessionPanel session={session} />
          <TimelinePanel entries={timeline} />
          <SessionsPanel lastChange={lastSignInOrEnd(timeline)} />
        </div>
        <SearchPanel />
      </main>
    </div>
  );
}

/** Names the latest entry after which the list of sessions looks different. */
function lastSignInOrEnd(timeline: ReturnType<typeof useTimeline>): number | undefined {
  return timeline?.findLast(({ kind }) => kind === 'signed-in' || kind === 'session-ended')?.id;
}

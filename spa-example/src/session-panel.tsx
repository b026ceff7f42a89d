import { useEffect, useState } from 'react';
import type { ReactNode } from 'react';
import { formatDuration, useNow } from './clock.ts';
import type { SignedIn } from './session.ts';

export interface SessionPanelProps {
  session: SignedIn;
  readAt: number;
  /** Called once when the session has come to its end. */
  onExpired: () => Promise<void>;
}

/** How long the session and the access token still last, and what a script in this page can see of them. */
export function SessionPanel({ session, readAt, onExpired }: SessionPanelProps): ReactNode {
  const now = useNow();
  const sessionLeft = secondsLeft(session.session.expiresInSeconds, readAt, now);
  const tokenLeft = secondsLeft(session.accessToken.expiresInSeconds, readAt, now);
  const isOver = sessionLeft === 0;

  useEffect(() => {
    if (isOver) void onExpired();
  }, [isOver, onExpired]);

  return (
    <section className="card" aria-labelledby="session-title">
      <h2 id="session-title">Your session</h2>
      <dl className="timers">
        <div>
          <dt>Session ends in</dt>
          <dd role="timer">{formatDuration(sessionLeft)}</dd>
        </div>
        <div>
          <dt>Access token ends in</dt>
          <dd role="timer">{tokenLeft === 0 ? 'over' : formatDuration(tokenLeft)}</dd>
          <dd className="small muted">
            {session.accessToken.refreshable ? 'Renewed by the next call that needs it' : 'Sign in again to renew it'}
          </dd>
        </div>
      </dl>
      <ScriptView />
    </section>
  );
}

/** Proves the point of it all: the page's own JavaScript finds nothing. */
function ScriptView(): ReactNode {
  const [seen] = useState(() => ({
    cookie: document.cookie === '' ? 'empty' : document.cookie,
    local: describeCount(window.localStorage.length),
    session: describeCount(window.sessionStorage.length),
  }));
  return (
    <>
      <h3>What a script in this page can see</h3>
      <dl className="facts">
        <div>
          <dt>
            <code>document.cookie</code>
          </dt>
          <dd>{seen.cookie}</dd>
        </div>
        <div>
          <dt>
            <code>localStorage</code>
          </dt>
          <dd>{seen.local}</dd>
        </div>
        <div>
          <dt>
            <code>sessionStorage</code>
          </dt>
          <dd>{seen.session}</dd>
        </div>
      </dl>
    </>
  );
}

function secondsLeft(seconds: number | null, readAt: number, now: number): number | undefined {
  if (seconds === null) return undefined;
  return Math.max(0, Math.ceil(seconds - Math.max(0, now - readAt) / 1000));
}

function describeCount(count: number): string {
  if (count === 0) return 'empty';
  return count === 1 ? '1 entry' : `${count} entries`;
}

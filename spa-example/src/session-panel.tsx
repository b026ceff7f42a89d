import { useMemo, useState } from 'react';
import type { ReactNode } from 'react';
import type { SignedInSession } from 'sallyport/react';
import { formatDuration, useNow } from './clock.ts';
import { describeError } from './problem.ts';

/** How long the session and the access token still last. */
export function SessionPanel({ session }: { session: SignedInSession }): ReactNode {
  const now = useNow();
  const [message, setMessage] = useState<string>();
  // Counted from when it was learnt, by the server's relative times: a clock that is wrong makes no difference.
  const learntAt = useMemo(() => ({ session, time: Date.now() }), [session]).time;
  const left = (seconds: number | null): number | undefined =>
    seconds === null ? undefined : Math.max(0, Math.ceil(seconds - Math.max(0, now - learntAt) / 1000));
  const { idleExpiresInSeconds, expiresInSeconds } = session.session;
  const { expiresInSeconds: tokenSeconds, refreshable } = session.accessToken;

  async function stay(): Promise<void> {
    try {
      await session.refresh();
      setMessage('Renewed: the token is new, and the idle time begins anew.');
    } catch (error) {
      setMessage(describeError(error));
    }
  }

  return (
    <section className="card" aria-labelledby="session-title">
      <h2 id="session-title">Your session</h2>
      <dl className="timers">
        <Timer
          name="Access token"
          seconds={left(tokenSeconds)}
          after={refreshable ? 'the next call renews it' : 'sign in again to renew it'}
        />
        <Timer name="Session, unused" seconds={left(idleExpiresInSeconds)} after="any call begins it anew" />
        <Timer name="Session, at most" seconds={left(expiresInSeconds)} after="then everybody signs in again" />
      </dl>
      <div className="actions actions-row">
        <button type="button" className="button" onClick={() => void stay()}>
          Stay signed in
        </button>
        <p className="small muted" role="status">
          {message}
        </p>
      </div>
    </section>
  );
}

interface TimerProps {
  name: string;
  /** Undefined where there is no such limit. */
  seconds: number | undefined;
  after: string;
}

function Timer({ name, seconds, after }: TimerProps): ReactNode {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <span role="timer">
          {seconds === undefined ? 'no limit' : seconds === 0 ? 'over' : formatDuration(seconds)}
        </span>
      </dd>
      <dd className="small muted">{after}</dd>
    </div>
  );
}

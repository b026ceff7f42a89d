import { useCallback, useEffect, useRef, useState } from 'react';
import type { ReactNode } from 'react';
import { formatAgo, useNow } from './clock.ts';
import { describeError, readError } from './problem.ts';
import { sallyport } from './session.ts';

/** One of `GET /bff/sessions`. */
interface ListedSession {
  handle: string;
  current: boolean;
  createdAt: string;
  lastSeenAt: string;
  userAgent: string | null;
  address: string | null;
}

type Listed = 'loading' | 'off' | { failure: string } | readonly ListedSession[];

/** Where the person is signed in, and the end of what they don't know. `lastChange` makes it look again. */
export function SessionsPanel({ lastChange }: { lastChange: number | undefined }): ReactNode {
  const [listed, setListed] = useState<Listed>('loading');
  const [message, setMessage] = useState<string>();
  const [busy, setBusy] = useState(false);
  const title = useRef<HTMLHeadingElement>(null);

  const load = useCallback(async () => {
    try {
      setListed(await listSessions());
    } catch (error) {
      setListed({ failure: describeError(error) });
    }
  }, []);

  useEffect(() => {
    void load();
  }, [load, lastChange]);

  async function end(which: string, done: string): Promise<void> {
    setBusy(true);
    try {
      const response = await sallyport.apiFetch(`/bff/sessions${which}`, { method: 'DELETE' });
      if (!response.ok) throw await readError(response);
      setMessage(done);
    } catch (error) {
      setMessage(describeError(error));
    }
    await load();
    setBusy(false);
    // The button that had the focus is gone.
    title.current?.focus();
  }

  const sessions = Array.isArray(listed) ? (listed as readonly ListedSession[]) : [];
  const hasOthers = sessions.some(({ current }) => !current);
  return (
    <section className="card" aria-labelledby="sessions-title">
      <h2 id="sessions-title" ref={title} tabIndex={-1}>
        Where you are signed in
      </h2>
      <p className="muted">
        From <code>/bff/sessions</code>. Sign in with a second browser and watch it appear.
      </p>
      <Sessions listed={listed} busy={busy} onEnd={(handle) => void end(`/${handle}`, 'That session has ended.')} />
      <div className="actions actions-row">
        {hasOthers && (
          <button
            type="button"
            className="button"
            disabled={busy}
            onClick={() => void end('?others=true', 'All your other sessions have ended.')}
          >
            End all others
          </button>
        )}
        <p className="small muted" role="status">
          {message}
        </p>
      </div>
    </section>
  );
}

interface SessionsProps {
  listed: Listed;
  busy: boolean;
  onEnd: (handle: string) => void;
}

function Sessions({ listed, busy, onEnd }: SessionsProps): ReactNode {
  const now = useNow(10_000);
  if (listed === 'loading') return <p className="empty muted">Looking…</p>;
  if (listed === 'off') {
    return (
      <p className="empty muted">
        This server keeps no list (<code>session.registry</code> is off).
      </p>
    );
  }
  if (!Array.isArray(listed)) {
    return (
      <p className="banner banner-error" role="alert">
        {(listed as { failure: string }).failure}
      </p>
    );
  }
  return (
    <ul className="rows">
      {(listed as readonly ListedSession[]).map((session) => {
        const browser = session.userAgent ?? 'A browser';
        return (
          <li key={session.handle}>
            <p>
              <span>
                {browser}
                {session.current && <span className="badge badge-good">this one</span>}
              </span>
              <span className="small muted">
                {session.address === null ? '' : `${session.address}, `}signed in {formatAgo(session.createdAt, now)}
              </span>
            </p>
            {!session.current && (
              <button
                type="button"
                className="button button-quiet"
                disabled={busy}
                aria-label={`End it: ${browser}, signed in ${formatAgo(session.createdAt, now)}`}
                onClick={() => onEnd(session.handle)}
              >
                End it
              </button>
            )}
          </li>
        );
      })}
    </ul>
  );
}

async function listSessions(): Promise<'off' | readonly ListedSession[]> {
  const response = await sallyport.apiFetch('/bff/sessions');
  if (response.status === 404) return 'off';
  if (!response.ok) throw await readError(response);
  const { sessions }: { sessions: ListedSession[] } = await response.json();
  return sessions;
}

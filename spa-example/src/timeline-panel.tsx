import { useEffect, useState } from 'react';
import type { ReactNode } from 'react';
import { reconnecting } from 'sallyport/browser/reconnecting';
import { formatAgo, useNow } from './clock.ts';
import { sallyport } from './session.ts';

/** What `demo/timeline.ts` sends. */
interface TimelineEntry {
  id: number;
  at: string;
  kind: 'signed-in' | 'token-renewed' | 'token-refused' | 'call-repeated' | 'session-ended';
  count: number;
  reason?: string;
}

const shownEntries = 7;

/** Follows the API's stream of events while the page is seen; undefined until it has answered. */
export function useTimeline(): readonly TimelineEntry[] | undefined {
  const [entries, setEntries] = useState<readonly TimelineEntry[]>();

  useEffect(() => {
    let stop: (() => void) | undefined;

    function open(): EventSource {
      const source = new EventSource('/api/timeline');
      source.addEventListener('history', ({ data }) => setEntries(JSON.parse(String(data)) as TimelineEntry[]));
      source.addEventListener('message', ({ data }) => {
        const entry = JSON.parse(String(data)) as TimelineEntry;
        setEntries((before = []) => [...before.filter(({ id }) => id !== entry.id), entry]);
      });
      return source;
    }

    // Browsers open six connections to a server at most: a tab in the background leaves its own to the others.
    function follow(): void {
      stop?.();
      stop = document.visibilityState === 'visible' ? reconnecting(open, sallyport) : undefined;
    }

    follow();
    document.addEventListener('visibilitychange', follow);
    return () => {
      stop?.();
      document.removeEventListener('visibilitychange', follow);
    };
  }, []);

  return entries;
}

export function TimelinePanel({ entries }: { entries: readonly TimelineEntry[] | undefined }): ReactNode {
  const now = useNow(10_000);
  const shown = entries?.toSorted((one, other) => other.id - one.id).slice(0, shownEntries) ?? [];
  return (
    <section className="card" aria-labelledby="timeline-title">
      <h2 id="timeline-title">What Sallyport did</h2>
      <p className="muted">Live, over a stream that outlasts the access token.</p>
      {shown.length === 0 ? (
        <p className="empty muted">{entries ? 'Nothing yet. Make a call.' : 'Waiting for the first event…'}</p>
      ) : (
        <div role="log" aria-label="Events, the newest first">
          <ol className="timeline">
            {shown.map((entry) => (
              <li key={entry.id} className={`event event-${entry.kind}`}>
                <p>
                  <strong>{titleOf(entry)}</strong>
                  <span className="small muted">{explain(entry)}</span>
                </p>
                <time className="small muted" dateTime={entry.at}>
                  {formatAgo(entry.at, now)}
                </time>
              </li>
            ))}
          </ol>
        </div>
      )}
    </section>
  );
}

function titleOf({ kind, count }: TimelineEntry): string {
  const calls = count === 1 ? 'A call' : `${count} calls`;
  switch (kind) {
    case 'signed-in':
      return 'Signed in';
    case 'token-renewed':
      return 'Token renewed';
    case 'token-refused':
      return `${calls} refused by the API`;
    case 'call-repeated':
      return `${calls} repeated`;
    case 'session-ended':
      return 'Session ended';
    default:
      return kind satisfies never;
  }
}

const endings: Readonly<Record<string, string>> = {
  logout: 'signed out',
  other_session: 'ended from another session',
  new_login: 'a new sign-in took its place',
  refresh_rejected: 'the provider refused the refresh token',
};

function explain({ kind, reason }: TimelineEntry): string {
  switch (kind) {
    case 'signed-in':
      return 'code flow with PKCE; the tokens went into the cookie';
    case 'token-renewed':
      return 'one refresh, however many calls wait for it';
    case 'token-refused':
      return 'a 401 that the app never sees';
    case 'call-repeated':
      return 'with the new token, and answered';
    case 'session-ended':
      return endings[reason ?? ''] ?? reason ?? '';
    default:
      return kind satisfies never;
  }
}

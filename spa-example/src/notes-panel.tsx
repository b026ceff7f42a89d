import { useCallback, useEffect, useRef, useState } from 'react';
import type { FormEvent, ReactNode } from 'react';
import type { Api, Note } from './api.ts';
import { formatAgo, useNow } from './clock.ts';
import { describeError } from './problem.ts';

type Notes = { state: 'loading' } | { state: 'failed'; message: string } | { state: 'loaded'; notes: Note[] };

/** The API's data: an ordinary list that is read, added to and removed from. */
export function NotesPanel({ api, person }: { api: Api; person: string }): ReactNode {
  const [notes, setNotes] = useState<Notes>({ state: 'loading' });
  const [draft, setDraft] = useDraft(person);
  const [failure, setFailure] = useState<string>();
  const [busy, setBusy] = useState(false);
  const input = useRef<HTMLInputElement>(null);

  const load = useCallback(async () => {
    try {
      setNotes({ state: 'loaded', notes: await api.listNotes() });
    } catch (error) {
      setNotes({ state: 'failed', message: describeError(error) });
    }
  }, [api]);

  useEffect(() => {
    void load();
  }, [load]);

  async function change(action: () => Promise<unknown>): Promise<void> {
    setBusy(true);
    setFailure(undefined);
    try {
      await action();
      setNotes({ state: 'loaded', notes: await api.listNotes() });
    } catch (error) {
      setFailure(describeError(error));
    } finally {
      setBusy(false);
    }
  }

  function submit(event: FormEvent): void {
    event.preventDefault();
    const text = draft.trim();
    if (text === '' || busy) return;
    void change(async () => {
      await api.addNote(text);
      setDraft('');
      input.current?.focus();
    });
  }

  async function remove(id: string): Promise<void> {
    await change(() => api.removeNote(id));
    // The button that had the focus is gone.
    input.current?.focus();
  }

  return (
    <section className="card" aria-labelledby="notes-title">
      <h2 id="notes-title">Your notes</h2>
      <p className="muted">
        From <code>/api/notes</code>: Sallyport adds your access token.
      </p>
      <form className="note-form" onSubmit={submit}>
        <label className="visually-hidden" htmlFor="note-text">
          New note
        </label>
        <input
          id="note-text"
          ref={input}
          value={draft}
          maxLength={200}
          autoComplete="off"
          placeholder="Something to remember"
          onChange={(event) => setDraft(event.target.value)}
        />
        <button className="button button-primary" aria-disabled={busy || draft.trim() === ''}>
          Add
        </button>
      </form>
      {failure !== undefined && (
        <p className="banner banner-error" role="alert">
          {failure}
        </p>
      )}
      <NoteList notes={notes} busy={busy} onRetry={load} onRemove={remove} />
    </section>
  );
}

const draftKey = 'draft';

/** What is typed, kept through a sign-in that has to leave the page because the browser opens no popup. */
function useDraft(person: string): [string, (text: string) => void] {
  const [draft, setDraft] = useState(() => takeDraft(person));
  const latest = useRef(draft);
  latest.current = draft;
  useEffect(() => {
    sessionStorage.removeItem(draftKey);
    const keep = (): void => {
      if (latest.current !== '') sessionStorage.setItem(draftKey, JSON.stringify({ person, text: latest.current }));
    };
    window.addEventListener('pagehide', keep);
    return () => window.removeEventListener('pagehide', keep);
  }, [person]);
  return [draft, setDraft];
}

/** Only for whom it is: another person may have signed in meanwhile. */
function takeDraft(person: string): string {
  const kept = JSON.parse(sessionStorage.getItem(draftKey) ?? '{}') as { person?: string; text?: string };
  return kept.person === person ? (kept.text ?? '') : '';
}

interface NoteListProps {
  notes: Notes;
  busy: boolean;
  onRetry: () => Promise<void>;
  onRemove: (id: string) => Promise<void>;
}

function NoteList({ notes, busy, onRetry, onRemove }: NoteListProps): ReactNode {
  const now = useNow(10_000);
  if (notes.state === 'loading') {
    return (
      <p className="empty muted" role="status">
        Loading your notes…
      </p>
    );
  }
  if (notes.state === 'failed') {
    return (
      <div className="banner banner-error" role="alert">
        <p>{notes.message}</p>
        <button type="button" className="button" onClick={() => void onRetry()}>
          Try again
        </button>
      </div>
    );
  }
  if (notes.notes.length === 0) return <p className="empty muted">No notes yet. Write the first one above.</p>;
  return (
    <ul className="notes">
      {notes.notes.map((note) => (
        <li key={note.id}>
          <p>
            {note.text}
            <span className="small muted">
              <time dateTime={note.createdAt}>{formatAgo(note.createdAt, now)}</time>
              {note.guarded && ' · only a fresh sign-in may remove it'}
            </span>
          </p>
          <button
            type="button"
            className="button button-quiet"
            disabled={busy}
            aria-label={`Remove "${note.text}"`}
            onClick={() => void onRemove(note.id)}
          >
            Remove
          </button>
        </li>
      ))}
    </ul>
  );
}

/** The app's calls to its API. They go to our own origin; Sallyport adds the access token on the way. */
import { CallError, call } from './problem.ts';

export interface Note {
  id: string;
  text: string;
  createdAt: string;
}

/** One call as the page's log shows it. */
export interface CallRecord {
  method: string;
  path: string;
  /** The HTTP status; 0 when there was no answer. */
  status: number;
  milliseconds: number;
  /** The name (`jti`) of the access token that the API was shown. The demo API tells it; it opens nothing. */
  tokenId: string | undefined;
}

export interface Api {
  listNotes(): Promise<Note[]>;
  addNote(text: string): Promise<Note>;
  removeNote(id: string): Promise<void>;
  /** Makes the API refuse the access token of this very call from now on. */
  expireToken(): Promise<void>;
  /** Makes one harmless call; never rejects because of its status. */
  probe(): Promise<CallRecord>;
}

export interface ApiListeners {
  onCall(record: CallRecord): void;
  onSessionOver(error: CallError): void;
}

export function createApi(listeners: ApiListeners): Api {
  async function send(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    const { record, outcome } = await exchange(method, path, init);
    listeners.onCall(record);
    if (outcome instanceof Response) return outcome;
    if (outcome.endsSession) listeners.onSessionOver(outcome);
    throw outcome;
  }

  return {
    async listNotes() {
      const response = await send('GET', '/api/notes');
      const { notes }: { notes: Note[] } = await response.json();
      return notes;
    },
    async addNote(text) {
      const headers = { 'content-type': 'application/json' };
      const response = await send('POST', '/api/notes', { headers, body: JSON.stringify({ text }) });
      const note: Note = await response.json();
      return note;
    },
    async removeNote(id) {
      await send('DELETE', `/api/notes/${encodeURIComponent(id)}`);
    },
    async expireToken() {
      await send('POST', '/api/token/expire');
    },
    async probe() {
      const { record, outcome } = await exchange('GET', '/api/token', {});
      // An answer that nobody reads keeps its connection busy.
      if (outcome instanceof Response) await outcome.arrayBuffer();
      else if (outcome.endsSession) listeners.onSessionOver(outcome);
      return record;
    },
  };
}

/** Makes a call and takes its time; an unsuccessful answer is an outcome like any other. */
async function exchange(
  method: string,
  path: string,
  init: RequestInit,
): Promise<{ record: CallRecord; outcome: Response | CallError }> {
  const started = performance.now();
  const outcome = await call(path, { ...init, method }).catch((error: unknown) => {
    if (error instanceof CallError) return error;
    throw error;
  });
  const milliseconds = Math.round(performance.now() - started);
  const tokenId = outcome instanceof Response ? (outcome.headers.get('token-id') ?? undefined) : undefined;
  return { record: { method, path, status: outcome.status, milliseconds, tokenId }, outcome };
}

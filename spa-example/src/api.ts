/** The app's calls to its API. They go to our own origin; Sallyport adds the access token on the way. */
import { readError } from './problem.ts';
import { sallyport } from './session.ts';

export interface Note {
  id: string;
  text: string;
  createdAt: string;
  /** Whether the API lets only a fresh sign-in delete it. */
  guarded: boolean;
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
  /** What the API gives only after a sign-in with a PIN. */
  openStrongbox(): Promise<string>;
  /** Makes one harmless call; never rejects because of its status. */
  probe(): Promise<CallRecord>;
}

export function createApi(onCall: (record: CallRecord) => void): Api {
  async function send(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    const { record, response } = await exchange(method, path, init);
    onCall(record);
    if (!response.ok) throw await readError(response);
    return response;
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
    async openStrongbox() {
      const response = await send('GET', '/api/strongbox');
      const { content }: { content: string } = await response.json();
      return content;
    },
    async probe() {
      const { record, response } = await exchange('GET', '/api/token', {});
      // An answer that nobody reads keeps its connection busy.
      await response.arrayBuffer();
      return record;
    },
  };
}

async function exchange(
  method: string,
  path: string,
  init: RequestInit,
): Promise<{ record: CallRecord; response: Response }> {
  const started = performance.now();
  const response = await sallyport.apiFetch(path, { ...init, method });
  const milliseconds = Math.round(performance.now() - started);
  const tokenId = response.headers.get('token-id') ?? undefined;
  return { record: { method, path, status: response.status, milliseconds, tokenId }, response };
}

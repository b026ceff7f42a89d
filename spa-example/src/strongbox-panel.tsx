import { useState } from 'react';
import type { ReactNode } from 'react';
import type { Api } from './api.ts';
import { describeError } from './problem.ts';

/** A call for which the API wants a stronger sign-in. */
export function StrongboxPanel({ api }: { api: Api }): ReactNode {
  const [content, setContent] = useState<string>();
  const [busy, setBusy] = useState(false);

  async function open(): Promise<void> {
    setBusy(true);
    try {
      setContent(await api.openStrongbox());
    } catch (error) {
      setContent(describeError(error));
    } finally {
      setBusy(false);
    }
  }

  return (
    <section className="card" aria-labelledby="strongbox-title">
      <h2 id="strongbox-title">Your strongbox</h2>
      <p className="muted">
        The API opens it only after a sign-in with a PIN (<code>step_up_required</code>).
      </p>
      <div className="actions actions-row">
        <button type="button" className="button" aria-disabled={busy} onClick={() => busy || void open()}>
          Open the strongbox
        </button>
        <p role="status">{content}</p>
      </div>
    </section>
  );
}

import { useState } from 'react';
import type { ReactNode } from 'react';
import { searchForTokens } from './token-search.ts';
import type { Finding } from './token-search.ts';

/** Proves the point of it all: the page's own JavaScript really tries, and finds nothing. */
export function SearchPanel(): ReactNode {
  const [findings, setFindings] = useState<readonly Finding[]>([]);
  const [state, setState] = useState<'idle' | 'searching' | 'done'>('idle');

  async function search(): Promise<void> {
    setFindings([]);
    setState('searching');
    await searchForTokens((finding) => setFindings((before) => [...before, finding]));
    setState('done');
  }

  return (
    <section className="card card-wide" aria-labelledby="search-title" data-search>
      <h2 id="search-title">What the browser can see</h2>
      <p className="muted">
        A script in this page looks for a token wherever a script can look: every storage, every answer, a hidden
        sign-in. Open a row for the evidence.
      </p>
      <div className="actions actions-row">
        <button
          type="button"
          className="button button-primary"
          aria-disabled={state === 'searching'}
          onClick={() => state === 'searching' || void search()}
        >
          Look for a token
        </button>
        <p role="status" className={verdictClass(state, findings)}>
          {verdict(state, findings)}
        </p>
      </div>
      {findings.length > 0 && (
        <ul className="findings" aria-label="What was found">
          {findings.map((finding) => (
            <li key={finding.place}>
              <details>
                <summary>
                  <span>{finding.place}</span>
                  <span className={finding.tokens.length > 0 ? 'badge badge-bad' : 'badge badge-good'}>
                    {finding.tokens.length > 0 ? 'token found' : 'no token'}
                  </span>
                </summary>
                {/* It scrolls, so the keyboard must get there. */}
                <pre tabIndex={0} aria-label={`Evidence: ${finding.place}`} role="region">
                  {shorten(finding.evidence)}
                </pre>
              </details>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function verdict(state: 'idle' | 'searching' | 'done', findings: readonly Finding[]): string | undefined {
  if (state === 'idle') return undefined;
  if (state === 'searching') return 'Looking…';
  const places = findings.filter(({ tokens }) => tokens.length > 0).map(({ place }) => place);
  if (places.length === 0) return `No token found in ${findings.length} places.`;
  return `Found what looks like a token: ${places.join(', ')}.`;
}

function verdictClass(state: string, findings: readonly Finding[]): string {
  if (state !== 'done') return 'muted';
  return findings.some(({ tokens }) => tokens.length > 0) ? 'verdict verdict-bad' : 'verdict verdict-good';
}

function shorten(text: string): string {
  const limit = 4000;
  return text.length > limit
    ? `${text.slice(0, limit)}\n… and ${text.length - limit} characters more, searched as well`
    : text;
}

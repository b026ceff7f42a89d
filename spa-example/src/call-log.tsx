import { Fragment } from 'react';
import type { ReactNode } from 'react';
import type { CallRecord } from './api.ts';

/** The latest calls and the token that the API saw with each: where its name changes, Sallyport has renewed it. */
export function CallLog({ calls }: { calls: readonly CallRecord[] }): ReactNode {
  return (
    <section className="card" aria-labelledby="log-title">
      <h2 id="log-title">Latest calls</h2>
      <p className="muted">Beside each call, the name (jti) of the token that the API saw.</p>
      {calls.length === 0 ? (
        <p className="empty muted">No calls yet.</p>
      ) : (
        <table className="calls">
          <thead>
            <tr>
              <th scope="col">Call</th>
              <th scope="col">Status</th>
              <th scope="col">Time</th>
              <th scope="col">Token</th>
            </tr>
          </thead>
          <tbody>
            {calls.map((call, index) => (
              <tr key={calls.length - index}>
                <td>
                  <code>
                    {call.method} <Path path={call.path} />
                  </code>
                </td>
                <td>{call.status === 0 ? 'lost' : call.status}</td>
                <td>{call.milliseconds} ms</td>
                <td>
                  <code>{call.tokenId?.slice(0, 6) ?? '–'}</code>
                  {isRenewed(calls, index) && <span className="badge">renewed</span>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

/** An address that may break after its slashes; what names one thing in it is cut short. */
function Path({ path }: { path: string }): ReactNode {
  const segments = path.split('/').slice(1);
  return segments.map((segment, index) => (
    // Segments never change places.
    <Fragment key={index}>
      /<wbr />
      {segment.length > 12 ? `${segment.slice(0, 6)}…` : segment}
    </Fragment>
  ));
}

/** Newest first: a call shows a renewal when the call before it was made with another token. */
function isRenewed(calls: readonly CallRecord[], index: number): boolean {
  const tokenId = calls[index]?.tokenId;
  const before = calls.slice(index + 1).find((call) => call.tokenId !== undefined);
  return tokenId !== undefined && before !== undefined && before.tokenId !== tokenId;
}

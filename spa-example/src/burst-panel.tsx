import { useState } from 'react';
import type { ReactNode } from 'react';
import type { Api, CallRecord } from './api.ts';
import { describeError } from './problem.ts';

const burstSize = 20;

type Tile = CallRecord | 'waiting';

/** Makes a refresh visible: spoil the token, then send many calls that all need a new one. */
export function BurstPanel({ api }: { api: Api }): ReactNode {
  const [tiles, setTiles] = useState<Tile[]>([]);
  const [message, setMessage] = useState<string>();
  const [busy, setBusy] = useState(false);

  async function run(action: () => Promise<string>): Promise<void> {
    setBusy(true);
    try {
      setMessage(await action());
    } catch (error) {
      setMessage(describeError(error));
    } finally {
      setBusy(false);
    }
  }

  async function expire(): Promise<string> {
    await api.expireToken();
    setTiles([]);
    return 'The API now refuses this token. The next call gets a 401 that you never see: Sallyport renews and repeats.';
  }

  async function fire(): Promise<string> {
    setTiles(Array.from({ length: burstSize }, () => 'waiting'));
    const probes = Array.from({ length: burstSize }, async (_, index) => {
      const record = await api.probe();
      setTiles((before) => before.with(index, record));
      return record;
    });
    const records = await Promise.all(probes);
    return summarise(records);
  }

  return (
    <section className="card" aria-labelledby="burst-title">
      <h2 id="burst-title">See a refresh happen</h2>
      <p className="muted">Spoil your token, then let twenty calls need a new one at once.</p>
      <div className="actions">
        <button type="button" className="button" aria-disabled={busy} onClick={() => busy || void run(expire)}>
          Expire my token now
        </button>
        <button
          type="button"
          className="button button-primary"
          aria-disabled={busy}
          onClick={() => busy || void run(fire)}
        >
          Fire {burstSize} calls at once
        </button>
      </div>
      <p className="burst-message" role="status">
        {message}
      </p>
      {tiles.length > 0 && (
        <ol className="tiles" aria-label={`Results of ${burstSize} calls`}>
          {tiles.map((tile, index) => (
            // The tiles never change places, so their place is their identity.
            <li key={index} className={tileClass(tile)}>
              {tile === 'waiting' ? <span>…</span> : <TileText record={tile} />}
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

function TileText({ record }: { record: CallRecord }): ReactNode {
  return (
    <>
      <strong>{record.status === 0 ? 'lost' : record.status}</strong>
      <span className="small">{record.milliseconds} ms</span>
    </>
  );
}

function tileClass(tile: Tile): string {
  if (tile === 'waiting') return 'tile';
  return tile.status >= 200 && tile.status < 300 ? 'tile tile-good' : 'tile tile-bad';
}

function summarise(records: readonly CallRecord[]): string {
  const good = records.filter((record) => record.status >= 200 && record.status < 300).length;
  const tokens = new Set(records.flatMap((record) => record.tokenId ?? [])).size;
  return `${good} of ${records.length} calls succeeded. The API saw ${tokens} token${tokens === 1 ? '' : 's'}.`;
}

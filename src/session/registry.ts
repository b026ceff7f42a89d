/**
 * Where people are signed in: a small record of each session in the store, for its person and for operators. It holds no
 * token. Of the browser and its address it holds what a person recognises, as of the sign-in. When the session was last
 * used, the store counts in coarse steps, so that no call waits for it or writes it.
 *
 * A session's handle is its key in the store: a hash of its id, which gives no authority.
 */
import { nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import type { SessionEnd } from '../events.ts';
import type { ListedSession } from '../store/store.ts';
import type { LiveSessions } from './live-sessions.ts';
import { createSealer } from './seal.ts';
import { loginIssuedAt } from './session.ts';
import type { SessionEntry } from './session-entry.ts';
import { ifAvailable, type SharedSessions } from './shared-sessions.ts';

/** How old the time of a session's last call may be. */
export const registryStepSeconds = 300;

/** By which part of the idle time the store may lag behind the calls: a session that goes on must not be missing. */
const countedLate = 1 / 20;

/** How many sessions a list shows: the newest. */
const maximumShown = 100;
/** How many are opened to find these, at 30 us each. */
const maximumOpened = 500;
/** How many are listed at a time to be ended, and how many are ended at a time. */
const listedAtOnce = 1000;
const endedAtOnce = 100;

/** By what a person recognises a browser. Undefined where it doesn't say. */
export interface ClientTraits {
  /** Such as `Firefox on Windows`. */
  readonly userAgent: string | undefined;
  /** The network of its address. */
  readonly address: string | undefined;
}

/** One of the sessions of a person. Times are seconds since 1970. */
export interface RegisteredSession extends ClientTraits {
  readonly handle: string;
  readonly createdAt: number;
  readonly lastSeenAt: number;
}

/** What is sealed. It names its session and their names, so that no record of the store can be put in another's place. */
interface SessionDetails extends ClientTraits {
  readonly key: string;
  readonly names: readonly string[];
  readonly createdAt: number;
  readonly loginIssuedAt: number;
}

interface OpenedDetails {
  readonly details: SessionDetails;
  readonly lastSeenAt: number;
}

interface RegistryDeps {
  readonly shared: SharedSessions;
  readonly live: LiveSessions;
  readonly endByKey: (key: string, reason: SessionEnd) => Promise<void>;
}

export type SessionRegistry = ReturnType<typeof createSessionRegistry>;

export function createSessionRegistry(config: Config, { shared, live, endByKey }: RegistryDeps) {
  const { lifetimeSeconds, idleSeconds, registry: isOn } = config.session;
  const sealer = createSealer(config.secrets, 'session details');

  /** Adds a session that has begun. A store that is down is told later. */
  async function add(entry: SessionEntry, traits: ClientTraits): Promise<void> {
    // Front-channel logout ends only what is listed: without the registry, by its names alone.
    if (!isOn && config.logout.frontchannel) await shared.enlist(entry, '');
    if (!isOn) return;
    const { key, names, session } = entry;
    const { createdAt } = session;
    const details = { key, names, createdAt, loginIssuedAt: loginIssuedAt(session), ...traits };
    await shared.enlist(entry, await sealer.seal(writeDetails(details)));
  }

  /**
   * Lists a session under the names that a refresh has given it, whose ID token names another session of the provider's.
   * @param earlier its names before
   */
  function rename(entry: SessionEntry, earlier: readonly string[]): void {
    if (!isOn && !config.logout.frontchannel) return;
    // Of the provider's session, which has fewer sessions here than the person.
    const name = earlier.at(-1);
    if (name === undefined) return;
    shared.enlistAnew(entry, name, async (listed) => {
      if (!isOn) return '';
      const { key, names, session } = entry;
      // What was noted at the sign-in is in the store alone.
      const [noted] = listed === undefined ? [] : open(listed, name);
      const { userAgent, address } = noted?.details ?? { userAgent: undefined, address: undefined };
      const times = { createdAt: session.createdAt, loginIssuedAt: loginIssuedAt(session) };
      return sealer.seal(writeDetails({ key, names, ...times, userAgent, address }));
    });
  }

  /**
   * The sessions of a name that go on, the newest first.
   * @throws {BffError} `store_unavailable`
   */
  async function list(name: string): Promise<readonly RegisteredSession[]> {
    const listed = await shared.list(name, maximumOpened);
    const opened = listed.flatMap((each) => open(each, name));
    const newest = opened.filter(goesOn).toSorted(byBeginning).slice(0, maximumShown);
    return (await withoutRevoked(newest)).map(({ details, lastSeenAt }) => {
      const { key, createdAt, userAgent, address } = details;
      return { handle: key, createdAt, lastSeenAt, userAgent, address };
    });
  }

  /** @returns nothing for what this process cannot open: no cookie of that session opens here either */
  function open({ session, details: sealed, activeMsAgo }: ListedSession, name: string): readonly OpenedDetails[] {
    const text = sealer.unseal(sealed);
    const details = text === undefined ? undefined : readDetails(text);
    if (details?.key !== session || !details.names.includes(name)) return [];
    const activeAt = activeMsAgo === undefined ? 0 : Math.floor((Date.now() - activeMsAgo) / 1000);
    return [{ details, lastSeenAt: Math.max(details.createdAt, activeAt) }];
  }

  /** Whether the session has not ended by its time, nor by a decision that the store may not know of yet. */
  function goesOn({ details, lastSeenAt }: OpenedDetails): boolean {
    const now = nowSeconds();
    const isIdle = idleSeconds !== 0 && now >= lastSeenAt + idleSeconds * (1 + countedLate);
    return live.find(details.key)?.ended === undefined && now < details.createdAt + lifetimeSeconds && !isIdle;
  }

  /** One look at all names nearly always finds no revocation; only if it does, each session is looked up. */
  async function withoutRevoked(opened: readonly OpenedDetails[]): Promise<readonly OpenedDetails[]> {
    const names = [...new Set(opened.flatMap(({ details }) => details.names))];
    const [first] = opened;
    if (first === undefined) return [];
    const { revocations } = await shared.look({ key: first.details.key, names });
    if (revocations.length === 0) return opened;
    const found = await Promise.all(opened.map(({ details }) => shared.look(details)));
    return opened.filter(({ details }, index) =>
      (found[index]?.revocations ?? []).every(({ before }) => details.loginIssuedAt > before),
    );
  }

  /**
   * Ends one of the sessions that {@link list} shows.
   * @returns false if it is none of them
   * @throws {BffError} `store_unavailable`
   */
  async function end(name: string, handle: string, reason: SessionEnd): Promise<boolean> {
    if (!(await list(name)).some((session) => session.handle === handle)) return false;
    await endByKey(handle, reason);
    return true;
  }

  /**
   * Ends the sessions of a name, those too that a list is too short for.
   * @param kept the key of one that goes on
   * @throws {BffError} `store_unavailable`: then some may go on
   */
  async function endAll(name: string, reason: SessionEnd, kept?: string): Promise<void> {
    const done = new Set([kept]);
    for (;;) {
      const keys = (await shared.list(name, listedAtOnce))
        .map(({ session }) => session)
        .filter((key) => !done.has(key));
      if (keys.length === 0) return;
      for (let at = 0; at < keys.length; at += endedAtOnce) {
        const batch = keys.slice(at, at + endedAtOnce);
        for (const key of batch) done.add(key);
        await Promise.all(batch.map((key) => endByKey(key, reason)));
      }
    }
  }

  /**
   * Ends the sessions of a name that are known to exist, in memory here or by the store's list. For a name that nobody
   * has, nothing is written.
   * @throws {BffError} `store_unavailable`: then only those in memory here have ended
   */
  async function endKnown(name: string, reason: SessionEnd): Promise<void> {
    // What the store could not be told of these it is told later.
    await Promise.all(live.activeKeysOf(name).map((key) => ifAvailable(endByKey(key, reason))));
    await endAll(name, reason);
  }

  return { isOn, add, rename, list, end, endAll, endKnown };
}

function byBeginning(one: OpenedDetails, other: OpenedDetails): number {
  return other.details.createdAt - one.details.createdAt;
}

/** Of this format. A record of another one is not listed, and is over with its session. */
const version = 1;

function writeDetails({ key, names, createdAt, loginIssuedAt: issuedAt, userAgent, address }: SessionDetails): string {
  return JSON.stringify([version, key, names, createdAt, issuedAt, userAgent ?? null, address ?? null]);
}

/** The inverse of {@link writeDetails}. Whoever sealed the text has written it so. */
function readDetails(text: string): SessionDetails | undefined {
  const fields: unknown = JSON.parse(text);
  if (!Array.isArray(fields) || fields[0] !== version) return undefined;
  const [, key, names, createdAt, issuedAt, userAgent, address] = fields as WrittenDetails;
  return {
    key,
    names,
    createdAt,
    loginIssuedAt: issuedAt,
    userAgent: userAgent ?? undefined,
    address: address ?? undefined,
  };
}

type WrittenDetails = [
  version: number,
  key: string,
  names: readonly string[],
  createdAt: number,
  loginIssuedAt: number,
  userAgent: string | null,
  address: string | null,
];

/**
 * The tables of the store's file, and the statements on them. Several processes may have the file open. In SQLite's
 * write-ahead mode they read while one of them writes, and a process that is killed loses nothing that it has committed.
 */
import { closeSync, openSync } from 'node:fs';
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { SessionEnd } from '../events.ts';
import { faultOfSqlite, isBusy, openingFault, StoreFileError } from './file-faults.ts';
import { settle, type StoredSession } from './record.ts';
import type { ListedSession, Revocation } from './store.ts';

/** "SPrt" */
const applicationId = 0x53_50_72_74;
/** Of the tables. A later format gets the next number, and a step that leads to it. */
const formatVersion = 1;

const openTimeoutMs = 2000;
/** The thread that writes the log back keeps it far shorter; this is for a disk that it cannot keep up with. */
const writeBackAtPages = 16_384;
/** What a storm of writes leaves of its log on the disk. */
const keptLogBytes = 4_194_304;

const tables = `
  CREATE TABLE sessions (
    session TEXT PRIMARY KEY,
    expires_at REAL NOT NULL,
    ended TEXT,
    generation INTEGER NOT NULL,
    content TEXT,
    content_expires_at REAL,
    confirmed_at REAL,
    oldest_served INTEGER NOT NULL,
    grace_generation INTEGER,
    grace_ends_at REAL,
    active_at REAL,
    claimed INTEGER NOT NULL,
    owner TEXT,
    lease_ends_at REAL NOT NULL,
    lease_ms REAL NOT NULL,
    interrupted INTEGER NOT NULL,
    details TEXT
  ) STRICT;
  CREATE INDEX sessions_by_expiry ON sessions (expires_at);
  CREATE INDEX contents_by_expiry ON sessions (content_expires_at) WHERE content IS NOT NULL;
  CREATE TABLE members (
    name TEXT NOT NULL,
    session TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE,
    PRIMARY KEY (name, session)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX members_by_session ON members (session);
  CREATE TABLE revocations (
    name TEXT PRIMARY KEY,
    before REAL NOT NULL,
    reason TEXT NOT NULL,
    expires_at REAL NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX revocations_by_expiry ON revocations (expires_at);
  CREATE TABLE used (name TEXT PRIMARY KEY, expires_at REAL NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX used_by_expiry ON used (expires_at);
  CREATE TABLE messages (id INTEGER PRIMARY KEY, written_at REAL NOT NULL, message TEXT NOT NULL) STRICT;
`;

/** The statements, by what they do. Times are of `Date.now()`; those of leases, of the clock since the machine started. */
function prepareAll(db: DatabaseSync) {
  return {
    begin: db.prepare('BEGIN'),
    beginImmediate: db.prepare('BEGIN IMMEDIATE'),
    commit: db.prepare('COMMIT'),
    rollback: db.prepare('ROLLBACK'),
    session: db.prepare('SELECT * FROM sessions WHERE session = ?'),
    saveSession: db.prepare(`
      INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET
        expires_at = excluded.expires_at, ended = excluded.ended, generation = excluded.generation,
        content = excluded.content, content_expires_at = excluded.content_expires_at,
        confirmed_at = excluded.confirmed_at, oldest_served = excluded.oldest_served,
        grace_generation = excluded.grace_generation, grace_ends_at = excluded.grace_ends_at, active_at = excluded.active_at, claimed = excluded.claimed,
        owner = excluded.owner, lease_ends_at = excluded.lease_ends_at, lease_ms = excluded.lease_ms,
        interrupted = excluded.interrupted, details = excluded.details`),
    removeSession: db.prepare('DELETE FROM sessions WHERE session = ?'),
    addMember: db.prepare('INSERT INTO members VALUES (?, ?) ON CONFLICT DO NOTHING'),
    removeMember: db.prepare('DELETE FROM members WHERE session = ?'),
    list: db.prepare(`
      SELECT session, details, active_at FROM members JOIN sessions USING (session)
      WHERE name = ? AND details IS NOT NULL AND expires_at > ?
      ORDER BY sessions.rowid DESC LIMIT ?`),
    revocation: db.prepare('SELECT before, reason FROM revocations WHERE name = ? AND expires_at > ?'),
    revoke: db.prepare(`
      INSERT INTO revocations VALUES (:name, :before, :reason, :expiresAt)
      ON CONFLICT DO UPDATE SET
        before = iif(expires_at <= :now, excluded.before, max(before, excluded.before)),
        reason = iif(expires_at <= :now OR excluded.before > before, excluded.reason, reason),
        expires_at = max(expires_at, excluded.expires_at)`),
    useOnce: db.prepare(`
      INSERT INTO used VALUES (:name, :expiresAt)
      ON CONFLICT DO UPDATE SET expires_at = excluded.expires_at WHERE expires_at <= :now`),
    addMessage: db.prepare('INSERT INTO messages (written_at, message) VALUES (?, ?)'),
    messagesAfter: db.prepare('SELECT id, message FROM messages WHERE id > ? ORDER BY id'),
    lastMessage: db.prepare('SELECT coalesce(max(id), 0) AS id FROM messages'),
    dataVersion: db.prepare('PRAGMA data_version'),
    expired: [
      db.prepare(`
        DELETE FROM sessions
        WHERE rowid IN (SELECT rowid FROM sessions WHERE expires_at <= :now LIMIT :limit)`),
      db.prepare(`
        UPDATE sessions SET content = NULL
        WHERE rowid IN (SELECT rowid FROM sessions WHERE content_expires_at <= :now AND content IS NOT NULL LIMIT :limit)`),
      db.prepare(
        'DELETE FROM revocations WHERE name IN (SELECT name FROM revocations WHERE expires_at <= :now LIMIT :limit)',
      ),
      db.prepare('DELETE FROM used WHERE name IN (SELECT name FROM used WHERE expires_at <= :now LIMIT :limit)'),
    ],
    // The newest stays, so that ids go on from it and a reader sees whether it has missed some.
    expiredMessages: db.prepare(`
      DELETE FROM messages
      WHERE id IN (SELECT id FROM messages WHERE written_at <= :now AND id < (SELECT max(id) FROM messages) LIMIT :limit)`),
    writeNothing: db.prepare(`PRAGMA user_version = ${formatVersion}`),
  };
}

export interface StoreDatabase {
  /** Runs a step that reads and writes. It comes whole or not at all, and nothing of another process between. */
  write<Result>(step: () => Result): Result;
  /** Runs a step that reads, at one moment. */
  read<Result>(step: () => Result): Result;
  /** Undefined where there is none that lives. */
  session(session: string, now: number): StoredSession | undefined;
  saveSession(session: string, stored: StoredSession): void;
  addMember(name: string, session: string): void;
  removeMember(session: string): void;
  list(
    name: string,
    limit: number,
    now: number,
  ): ReadonlyArray<Omit<ListedSession, 'activeMsAgo'> & { activeAt: number | undefined }>;
  revocation(name: string, now: number): Revocation | undefined;
  revoke(name: string, revocation: Revocation, times: { expiresAt: number; now: number }): void;
  useOnce(name: string, times: { expiresAt: number; now: number }): boolean;
  addMessage(message: string, now: number): void;
  messagesAfter(id: number): ReadonlyArray<{ readonly id: number; readonly message: string }>;
  lastMessageId(): number;
  /** Changes when another process has written. */
  dataVersion(): number;
  /** Removes up to `limit` of each kind of what has expired. @returns whether there may be more */
  removeExpired(limit: number, times: { now: number; messagesBefore: number }): boolean;
  /** Writes without changing anything, to see whether that can be done. */
  writeNothing(): void;
  /** Leaves nothing in the log that another file of the same name could take for its own. */
  emptyLog(): void;
  close(): void;
}

/** Which database it is changes when the file is opened anew. */
export interface OpenFile {
  database: StoreDatabase;
}

/**
 * Opens the file, and makes it where there is none: for this user alone (mode 0600).
 * @throws {StoreFileError} that names the remedy
 */
export function openStoreDatabase(path: string): StoreDatabase {
  const unusable = faultOfSqlite(process.versions.sqlite);
  if (unusable !== undefined) throw new StoreFileError(unusable);
  let db: DatabaseSync | undefined;
  try {
    makeFile(path);
    // Loaded only where a file is configured: Node 22 warns that the module is experimental.
    const { DatabaseSync } = process.getBuiltinModule('node:sqlite');
    db = new DatabaseSync(path, { timeout: openTimeoutMs });
    prepareFile(path, db);
    return createStoreDatabase(db);
  } catch (error) {
    db?.close();
    throw error instanceof StoreFileError ? error : openingFault(path, error);
  }
}

/** An existing file is not opened here: closing it again would release SQLite's locks in this process (fcntl). */
function makeFile(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}

function prepareFile(path: string, db: DatabaseSync): void {
  requireOwnFile(path, db);
  if (retryBusy(() => valueOf(db, 'journal_mode = WAL')) !== 'wal') {
    throw openingFault(path, new Error('write-ahead logging is not possible there'));
  }
  db.exec(`
    PRAGMA synchronous = NORMAL;
    PRAGMA foreign_keys = ON;
    PRAGMA wal_autocheckpoint = ${writeBackAtPages};
    PRAGMA journal_size_limit = ${keptLogBytes};
    BEGIN IMMEDIATE;
  `);
  // Another process may have made the tables since.
  requireOwnFile(path, db);
  if (isEmpty(db)) {
    db.exec(`${tables} PRAGMA application_id = ${applicationId};`);
  }
  db.exec(`PRAGMA user_version = ${formatVersion}; COMMIT; PRAGMA busy_timeout = 0;`);
}

/** Whether it is a file that nobody has written to. */
function isEmpty(db: DatabaseSync): boolean {
  return valueOf(db, 'schema_version') === 0;
}

function requireOwnFile(path: string, db: DatabaseSync): void {
  if (isEmpty(db)) return;
  if (valueOf(db, 'application_id') !== applicationId) {
    throw new StoreFileError(`The file ${path} belongs to another program. Correct SALLYPORT_STORE_FILE.`);
  }
  const version = valueOf(db, 'user_version');
  if (version !== formatVersion) {
    throw new StoreFileError(
      `The store's file ${path} was written by a newer version of Sallyport (format ${String(version)}; this one reads ` +
        `${formatVersion}). Start that version again, or name another file; this one's sign-outs are unknown there.`,
    );
  }
}

function valueOf(db: DatabaseSync, pragma: string): unknown {
  return Object.values(db.prepare(`PRAGMA ${pragma}`).get() ?? {})[0];
}

/** SQLite does not wait for its lock while it changes the journal's mode. */
function retryBusy<Value>(action: () => Value): Value {
  const deadline = performance.now() + openTimeoutMs;
  for (;;) {
    try {
      return action();
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadline) throw error;
    }
  }
}

interface SessionRow {
  readonly expires_at: number;
  readonly ended: SessionEnd | null;
  readonly generation: number;
  readonly content: string | null;
  readonly content_expires_at: number | null;
  readonly confirmed_at: number | null;
  readonly oldest_served: number;
  readonly grace_generation: number | null;
  readonly grace_ends_at: number | null;
  readonly active_at: number | null;
  readonly claimed: number;
  readonly owner: string | null;
  readonly lease_ends_at: number;
  readonly lease_ms: number;
  readonly interrupted: number;
  readonly details: string | null;
}

function createStoreDatabase(db: DatabaseSync): StoreDatabase {
  const statements = prepareAll(db);

  function transaction<Result>(start: StatementSync, step: () => Result): Result {
    start.run();
    try {
      const result = step();
      statements.commit.run();
      return result;
    } catch (error) {
      // SQLite itself rolls back where the disk is full.
      if (db.isTransaction) statements.rollback.run();
      throw error;
    }
  }

  return {
    write: (step) => transaction(statements.beginImmediate, step),
    read: (step) => transaction(statements.begin, step),

    session(session, now) {
      const row = statements.session.get(session) as SessionRow | undefined;
      if (row === undefined || row.expires_at <= now) return undefined;
      const stored = storedOf(row);
      settle(stored, now);
      return stored;
    },

    saveSession(session, stored) {
      statements.saveSession.run(session, ...valuesOf(stored));
    },

    addMember: (name, session) => void statements.addMember.run(name, session),
    removeMember: (session) => void statements.removeMember.run(session),

    list(name, limit, now) {
      const rows = statements.list.all(name, now, limit) as unknown as Array<{
        session: string;
        details: string;
        active_at: number | null;
      }>;
      return rows.map(({ session, details, active_at: activeAt }) => ({
        session,
        details,
        activeAt: activeAt ?? undefined,
      }));
    },

    revocation: (name, now) => statements.revocation.get(name, now) as Revocation | undefined,
    revoke: (name, { before, reason }, times) => void statements.revoke.run({ name, before, reason, ...times }),
    useOnce: (name, times) => statements.useOnce.run({ name, ...times }).changes === 1,

    addMessage: (message, now) => void statements.addMessage.run(now, message),
    messagesAfter: (id) => statements.messagesAfter.all(id) as unknown as Array<{ id: number; message: string }>,
    lastMessageId: () => Number(statements.lastMessage.get()?.['id']),
    dataVersion: () => Number(statements.dataVersion.get()?.['data_version']),

    removeExpired(limit, { now, messagesBefore }) {
      const removed = statements.expired.map((statement) => Number(statement.run({ now, limit }).changes));
      removed.push(Number(statements.expiredMessages.run({ now: messagesBefore, limit }).changes));
      return Math.max(...removed) >= limit;
    },

    writeNothing: () => void statements.writeNothing.run(),
    emptyLog: () => db.exec('PRAGMA wal_checkpoint(TRUNCATE)'),
    close: () => db.close(),
  };
}

function storedOf(row: SessionRow): StoredSession {
  return {
    expiresAt: row.expires_at,
    ended: row.ended ?? undefined,
    generation: row.generation,
    content: row.content ?? undefined,
    contentExpiresAt: row.content_expires_at ?? Infinity,
    confirmedAt: row.confirmed_at ?? undefined,
    oldestServed: row.oldest_served,
    grace:
      row.grace_generation === null || row.grace_ends_at === null
        ? undefined
        : { generation: row.grace_generation, endsAt: row.grace_ends_at },
    activeAt: row.active_at ?? undefined,
    claim:
      row.claimed === 0
        ? undefined
        : {
            owner: row.owner ?? undefined,
            leaseEndsAt: row.lease_ends_at,
            leaseMs: row.lease_ms,
            interrupted: row.interrupted !== 0,
          },
    details: row.details ?? undefined,
  };
}

/** In the order of the table's columns. */
function valuesOf({ claim, ...stored }: StoredSession): SQLInputValue[] {
  return [
    stored.expiresAt,
    stored.ended ?? null,
    stored.generation,
    stored.content ?? null,
    stored.contentExpiresAt === Infinity ? null : stored.contentExpiresAt,
    stored.confirmedAt ?? null,
    stored.oldestServed,
    stored.grace?.generation ?? null,
    stored.grace?.endsAt ?? null,
    stored.activeAt ?? null,
    claim === undefined ? 0 : 1,
    claim?.owner ?? null,
    claim?.leaseEndsAt ?? 0,
    claim?.leaseMs ?? 0,
    claim?.interrupted === true ? 1 : 0,
    stored.details ?? null,
  ];
}

/**
 * The store's messages: how they are written, how they are heard, and since when none can have been missed.
 *
 * A connection of its own subscribes. Each store publishes a heartbeat about once a second, on a channel that only it
 * listens to, through every server that publishes messages. While its heartbeats come back, messages come; so a cut link
 * is noticed, however it was cut, and whoever sits in between.
 */
import { monotonicMs } from '../clock.ts';
import { randomUUID } from 'node:crypto';
import type { SessionEnd } from '../events.ts';
import { detach } from '../detached.ts';
import { createStoreListeners } from './listeners.ts';
import { RedisErrorReply } from './redis-connection.ts';
import { createRedisLink, type RedisLink } from './redis-link.ts';
import type { RedisNodes } from './redis-nodes.ts';
import type { RedisOutages } from './redis-outages.ts';
import type { StoreMessage } from './store.ts';

const heartbeatMs = 1000;
/** For how long a heartbeat proves that messages come. */
const provesForMs = 2000;
/** How long after it was published a heartbeat may take to come back. */
const mayTakeMs = 1000;
/** How often a proof is asked for that is over: a process that stood still need not wait for the next heartbeat. */
const askAgainMs = 100;
/** No message of ours is as long. */
const maximumLength = 4096;

export interface RedisMessages {
  subscribe(listener: (message: StoreMessage) => void): () => void;
  heardSince(): number | undefined;
  /** What was looked up before now may have changed unheard: the store has lost it. */
  forgetPast(): void;
  /** Tells this process alone. */
  publishHere(message: StoreMessage): void;
  /**
   * A server that publishes was connected, which may be another one than before. That messages go on to come proves
   * nothing: a master that was replaced passes on to its subscribers what the new one publishes.
   */
  doubt(): void;
  close(): Promise<void>;
}

export interface RedisMessagesOptions {
  readonly nodes: Pick<RedisNodes, 'publishers' | 'connectToSubscribe'>;
  readonly prefix: string;
  readonly outages: RedisOutages;
}

interface Heartbeat {
  readonly publisher: RedisLink;
  readonly number: number;
  /** The number of the one that this publisher was given before. */
  readonly previous: number | undefined;
  readonly sentAt: number;
  publishedAt?: number;
}

/** What is known of the way from one publisher to here. */
interface Heard {
  readonly since: number;
  readonly last: Heartbeat;
}

export function channelOf(prefix: string): string {
  return `${prefix}messages`;
}

export function createRedisMessages({ nodes, prefix, outages }: RedisMessagesOptions): RedisMessages {
  const listeners = createStoreListeners();
  const channel = channelOf(prefix);
  const ownChannel = `${prefix}heartbeat:${randomUUID()}`;
  /** What has no permission to publish. */
  const refused = {};
  let lastNumber = 0;
  const sent = new Map<RedisLink, number>();
  const unheard = new Map<number, Heartbeat>();
  const heard = new Map<RedisLink, Heard>();
  let since: number | undefined;
  let provenAt = -Infinity;
  let beatAt = -Infinity;
  let isSubscribed = false;
  let timer: NodeJS.Timeout | undefined;
  const subscription = createRedisLink({ connect: connectAndSubscribe, outages, onConnected, onLost: forget });
  scheduleBeat();

  async function connectAndSubscribe() {
    const connection = await nodes.connectToSubscribe();
    await connection.subscribe([channel, ownChannel], receive);
    return connection;
  }

  function onConnected(): void {
    isSubscribed = true;
    beat();
  }

  function forget(): void {
    // Until it is subscribed again, no heartbeat is sent: an earlier one would prove too much.
    isSubscribed = false;
    forgetHeartbeats();
  }

  function forgetHeartbeats(): void {
    for (const known of [sent, unheard, heard]) known.clear();
    prove();
  }

  function receive(text: string, from: string): void {
    if (from === ownChannel) return hear(Number(text));
    const message = parseMessage(text);
    if (message !== undefined) listeners.publish(message);
  }

  function hear(number: number): void {
    const heartbeat = unheard.get(number);
    if (heartbeat === undefined) return;
    unheard.delete(number);
    outages.end(refused);
    const before = heard.get(heartbeat.publisher);
    const isUnbroken = before !== undefined && before.last.number === heartbeat.previous;
    heard.set(heartbeat.publisher, { since: isUnbroken ? before.since : heartbeat.sentAt, last: heartbeat });
    prove();
  }

  function prove(): void {
    const ways = nodes.publishers().map((publisher) => heard.get(publisher));
    provenAt = Math.min(...ways.map((way) => way?.last.sentAt ?? -Infinity));
    since = Math.max(...ways.map((way) => way?.since ?? Infinity));
  }

  function forgetPast(): void {
    const now = monotonicMs();
    for (const [publisher, { last }] of heard) heard.set(publisher, { since: now, last });
    prove();
  }

  function scheduleBeat(): void {
    timer = setTimeout(
      () => {
        scheduleBeat();
        beat();
        // What came while this process was busy is read first.
        setImmediate(dropSilentSubscription);
      },
      heartbeatMs * (0.9 + Math.random() / 5),
    ).unref();
  }

  function doubt(): void {
    forgetHeartbeats();
    beat();
  }

  function heardSince(): number | undefined {
    const now = monotonicMs();
    if (now - provenAt <= provesForMs) return since;
    if (now - beatAt > askAgainMs) beat();
    return undefined;
  }

  function beat(): void {
    if (!isSubscribed) return;
    beatAt = monotonicMs();
    for (const publisher of nodes.publishers()) if (publisher.isConnected()) beatThrough(publisher);
    prove();
  }

  function beatThrough(publisher: RedisLink): void {
    const number = ++lastNumber;
    const heartbeat: Heartbeat = { publisher, number, previous: sent.get(publisher), sentAt: monotonicMs() };
    sent.set(publisher, number);
    unheard.set(number, heartbeat);
    detach(
      publisher.send(['PUBLISH', ownChannel, String(number)]).then(() => (heartbeat.publishedAt = monotonicMs())),
      (error) => {
        unheard.delete(number);
        if (error instanceof RedisErrorReply) outages.report(refused, error);
      },
    );
  }

  function dropSilentSubscription(): void {
    const now = monotonicMs();
    const isSilent = [...unheard.values()].some(({ publishedAt = Infinity }) => now - publishedAt > mayTakeMs);
    if (isSilent) subscription.drop(new Error('Messages do not come.'));
  }

  return {
    subscribe: (listener) => listeners.subscribe(listener),
    heardSince,
    forgetPast,
    publishHere: (message) => listeners.publish(message),
    doubt,
    async close() {
      clearTimeout(timer);
      listeners.clear();
      await subscription.close();
    },
  };
}

export function writeMessage(message: StoreMessage): string {
  return JSON.stringify(message);
}

/** Undefined for what a stranger published, or a version that knows more messages. */
export function parseMessage(text: string): StoreMessage | undefined {
  if (text.length > maximumLength) return undefined;
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof found !== 'object' || found === null) return undefined;
  const { type, session, name, reason, before, generation } = found as Readonly<Record<string, unknown>>;
  if (type === 'ended' && isText(session) && isText(reason)) return { type, session, reason: sessionEndOf(reason) };
  if (type === 'released' && isText(session)) return { type, session };
  if (type === 'advanced' && isText(session) && isCount(generation)) return { type, session, generation };
  if (type !== 'revoked' || !isText(name) || !isText(reason) || !isCount(before)) return undefined;
  return { type, name, before, reason: sessionEndOf(reason) };
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

const sessionEnds: Readonly<Record<SessionEnd, true>> = {
  logout: true,
  new_login: true,
  refresh_rejected: true,
  refresh_id_token_invalid: true,
  refresh_interrupted: true,
  backchannel: true,
  frontchannel: true,
  operator: true,
  store_lost: true,
  other_session: true,
};

/** A newer version may know more reasons. For this one the session has ended all the same. */
export function sessionEndOf(reason: string): SessionEnd {
  return Object.hasOwn(sessionEnds, reason) ? (reason as SessionEnd) : 'logout';
}

/**
 * The attacker's story: "Every connection costs the server a file descriptor, and it has so many of them. I open
 * connections and say nothing; then it can accept nobody, call no API and read no file."
 *
 * Must hold: the process lives on, answers what it can with what it has, and serves as before when they have gone.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, test, vi } from 'vitest';
import { startMeasured } from '../support/separate-server.ts';
import { outcomeOf, signIn, startWorld, within } from '../support/world.ts';

const descriptors = 80;
/** More than there are. */
const crowd = 200;

test.each<[story: string, greeting: string]>([
  ['say nothing', ''],
  ['stop amid the head', 'GET /api/x HTTP/1.1\r\nHost: '],
  ['wait with a body', 'POST /bff/callback HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n'],
])(
  'strangers who open connections till there are none left and %s end nothing',
  async (_, greeting) => {
    const world = await startWorld();
    await world.server.close();
    const server = await startMeasured(world.config, { descriptors });
    const browser = world.client();
    await signIn(browser);
    // A connection that stands serves on, with what it takes to do so.
    await browser.fetch('/api/before');

    const sockets: Socket[] = [];
    for (let index = 0; index < crowd; index += 1) {
      const socket = connect(server.port, '127.0.0.1', () => socket.write(greeting));
      socket.on('error', () => socket.destroy());
      sockets.push(socket);
    }
    await Promise.all(
      sockets.map((socket) =>
        within(5, Promise.race([once(socket, 'connect'), once(socket, 'close')]), 'no connection').catch(
          () => undefined,
        ),
      ),
    );
    // While there is nothing left, over the connection that stands: what is answered is an answer of the API or a problem.
    const outcomes: (number | string)[] = [];
    for (const path of ['/assets/app.js', '/', '/bff/session', '/bff/login', '/api/during']) {
      const call = browser.fetch(path, { signal: AbortSignal.timeout(4000) });
      outcomes.push(await within(5, outcomeOf(call), `${path} hangs`));
    }
    expect(server.death).toBeUndefined();
    expect(outcomes.filter((outcome) => typeof outcome !== 'number')).toEqual([]);
    for (const socket of sockets) socket.destroy();

    browser.close();
    await vi.waitFor(async () => expect(await outcomeOf(browser.fetch('/api/after'))).toBe(200), { timeout: 10_000 });
    expect(await outcomeOf(browser.fetch('/assets/app.js'))).toBe(200);
    const { warnings } = await server.gauges();
    expect(warnings).toEqual([]);
    expect(server.death).toBeUndefined();
  },
  60_000,
);

/** The Redis that instances share, with nothing on disk. */
import { freePort, launch, type Running } from './processes.ts';

/** Starts it. */
export async function startRedis(): Promise<Running> {
  const port = await freePort();
  const basics = ['--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', '/tmp'];
  return launch({ name: 'redis', place: 'rest', port, command: ['redis-server', '--port', String(port), ...basics] });
}

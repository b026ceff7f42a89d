/**
 * What a process does about an error that nothing caught. Something in it may be half done, so it doesn't go on; but the
 * others' calls are no part of the fault, so it doesn't stop at once either. It says why, takes no new work, finishes
 * what runs, and ends with 1, so that its supervisor starts a fresh one.
 */
import type { RunningServer } from './server.ts';

/** Beyond the server's own time for draining. */
const marginSeconds = 5;
/** A fault that repeats itself must not fill the disk. */
const maximumReports = 20;
const maximumFrames = 12;

/** For a process that runs nothing but this server: the faults of others are not this one's to handle. */
export function drainOnProcessFault({ bff, close }: RunningServer, drainSeconds: number): void {
  let count = 0;
  // Rejections that nobody handles arrive here as well; `origin` tells which it was.
  process.on('uncaughtException', (cause: unknown, origin) => {
    count++;
    if (count <= maximumReports)
      bff.events.emit({ type: 'process.failed', count, origin, stack: framesOf(cause), cause });
    if (count > 1) return;
    process.exitCode = 1;
    setTimeout(exit, (drainSeconds + marginSeconds) * 1000);
    close().then(exit, exit);
  });
}

function exit(): void {
  process.exit();
}

/** Where it happened. Without the first line, the message, which the log writes by its own rules. */
function framesOf(error: unknown): string[] {
  const lines = error instanceof Error ? (error.stack ?? '').split('\n') : [];
  return lines
    .map((line) => line.trim())
    .filter((line) => line.startsWith('at '))
    .slice(0, maximumFrames);
}

/** `sallyport start --config FILE`, with little patience for workers that hang: a test need not wait for as long. */
import { start } from '../../src/cli/start.ts';

export const hangingSeconds = 4;

if (import.meta.main) await start(process.argv.at(-1), { missedSignsOfLife: hangingSeconds });

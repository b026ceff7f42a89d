/** The command line: what it answers to a wrong call. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { runSallyport } from '../support/command-line.ts';
import { root } from '../support/markdown.ts';

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

describe('a wrong call is answered with what was meant, the usage and exit code 2:', () => {
  test.each<readonly [args: readonly string[], told: string]>([
    [['strat'], 'There is no command "strat". Did you mean start?'],
    [['keygne'], 'There is no command "keygne". Did you mean keygen?'],
    [['constructor'], 'There is no command "constructor".\n'],
    [['start', '--confg', 'x'], 'There is no option --confg. Did you mean --config?'],
    [['start', '--config=x', '--verbose'], 'There is no option --verbose.\n'],
    [['start', '-x'], 'There is no option -x.\n'],
    [['start', '--config'], '--config needs the path of a file.'],
    [['start', '-c', ''], '-c needs the path of a file.'],
    [
      ['start', 'a.json'],
      '"sallyport start" takes no "a.json". For a configuration file: sallyport start --config a.json',
    ],
    [['keygen', 'x'], '"sallyport keygen" takes no "x".\n'],
    [['schema', '--config', 'x'], '"sallyport schema" takes no --config.'],
    [['start', '--sub', 'x'], '"sallyport start" takes no --sub.'],
    [['check', '--json=yes'], '--json takes no value.'],
    [['sessions'], '"sallyport sessions" does one of these: list, end.'],
    [['sessions', 'lst', '--sub', 'x'], '"sallyport sessions" does one of these: list, end.'],
    [['sessions', 'list', 'x'], '"sallyport sessions" takes no "x".'],
    [['sessions', 'list'], '"sallyport sessions list" needs one of --sub or --sid.'],
    [['sessions', 'list', '--handle', 'x'], '"sallyport sessions list" needs one of --sub or --sid.'],
    [['sessions', 'end'], '"sallyport sessions end" needs one of --sub, --sid or --handle.'],
    [
      ['sessions', 'end', '--sub', 'x', '--sid', 'y'],
      '"sallyport sessions end" needs one of --sub, --sid or --handle.',
    ],
    [['sessions', 'end', '--sub'], '--sub needs a value.'],
    [['sessions', 'end', '--sub='], '--sub needs a value.'],
    [['sessions', 'end', '--sub', 'x', '--strict'], '"sallyport sessions" takes no --strict.'],
    [['sessions', 'end', '--sub', 'x', '--url', 'localhost'], '--url needs an address such as http://127.0.0.1:9400.'],
    [['--help=yes'], '--help takes no value.'],
    [[], 'Which command?'],
  ])('%j', (args, told) => {
    const { exitCode, output, errors } = runSallyport(args);
    expect(errors.startsWith(told)).toBe(true);
    expect(errors).toContain('sallyport start  [--config FILE]');
    expect(output).toBe('');
    expect(exitCode).toBe(2);
  });
});

test.each(['--version', '-v'])('%s prints the version of the package, and nothing else', (option) => {
  expect(runSallyport([option])).toEqual({ exitCode: 0, output: `${manifest.version}\n`, errors: '' });
});

test.each([['--help'], ['-h'], ['start', '--help']])('%s prints the usage', (...args) => {
  const { exitCode, output } = runSallyport(args);
  expect(output).toMatch(/^sallyport: .*\n\n {2}sallyport start /);
  expect(exitCode).toBe(0);
});

test('a file that npm kept the option of is told how to be named', () => {
  const { errors } = runSallyport(['start', 'x.ts'], { env: { npm_lifecycle_event: 'serve' } });
  expect(errors).toContain('For a configuration file: npm run serve -- --config x.ts\n');
});

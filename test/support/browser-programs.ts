/** Where the browsers of this machine are: the same that `scripts/install.mjs` looks for. */
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

interface Program {
  readonly name: string;
  /** The environment variable that names its executable. */
  readonly variable: string;
  readonly commands: readonly string[];
  readonly places: readonly string[];
}

const chromium: Program = {
  name: 'Chromium',
  variable: 'CHROMIUM_PATH',
  commands: ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome.exe'],
  places: [
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
    '/Applications/Chromium.app/Contents/MacOS/Chromium',
    'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
  ],
};

const firefox: Program = {
  name: 'Firefox',
  variable: 'FIREFOX_PATH',
  commands: ['firefox-esr', 'firefox', 'firefox.exe'],
  places: ['/Applications/Firefox.app/Contents/MacOS/firefox', 'C:\\Program Files\\Mozilla Firefox\\firefox.exe'],
};

export const findChromium = (): string => find(chromium);
export const findFirefox = (): string => find(firefox);

function find({ name, variable, commands, places }: Program): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const candidates = [...folders.flatMap((folder) => commands.map((command) => join(folder, command))), ...places];
  const found = process.env[variable] ?? candidates.find((path) => existsSync(path));
  if (found === undefined) throw new Error(`There is no ${name}: install it, or set ${variable} to its executable.`);
  return found;
}

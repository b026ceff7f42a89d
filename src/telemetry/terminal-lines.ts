/** The log for a person at a terminal: one readable line for each JSON line. */
import { stripVTControlCharacters, styleText } from 'node:util';

const levels: Readonly<Record<number, { readonly name: string; readonly style: Parameters<typeof styleText>[0] }>> = {
  20: { name: 'DEBUG', style: 'gray' },
  30: { name: 'INFO ', style: 'green' },
  40: { name: 'WARN ', style: 'yellow' },
  50: { name: 'ERROR', style: 'red' },
  60: { name: 'FATAL', style: 'red' },
};

type Fields = Readonly<Record<string, unknown>>;

/** @param json one line of the JSON log */
export function terminalLine(json: string): string {
  const { level, time, msg, ...fields } = JSON.parse(json) as Fields;
  const { name, style } = levels[Number(level)] ?? { name: String(level), style: 'gray' };
  const clock = new Date(Number(time)).toTimeString().slice(0, 8);
  const { text, rest } = describers.get(msg)?.(fields) ?? { text: String(msg), rest: fields };
  const details = Object.entries(rest).map(([key, value]) => ` ${styleText('gray', `${key}=`)}${printable(value)}`);
  return `${styleText('gray', clock)} ${styleText(style, name)} ${printable(text)}${details.join('')}\n`;
}

/** What a line says beside its fields. */
interface Description {
  readonly text: string;
  readonly rest: Fields;
}

/** How the lines that people look for are put into words, by their message. */
const describers: ReadonlyMap<unknown, (fields: Fields) => Description> = new Map([
  ['request', describeRequest],
  ['listening', describeStart],
]);

function describeRequest({ method, path, status = '-', ms, ...rest }: Fields): Description {
  return { text: `${[method, path, status, ms].map(printable).join(' ')} ms`, rest };
}

/** With the address to open, which is the proxy's in front where there is one. */
function describeStart({ origin, path, host, port, ...rest }: Fields): Description {
  return {
    text: `listening on ${printable(host)}:${printable(port)}; open ${printable(origin)}${printable(path)}`,
    rest,
  };
}

/** Text of clients and providers must not move the cursor or change colours of the operator's terminal. */
function printable(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
  return stripVTControlCharacters(text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '�');
}

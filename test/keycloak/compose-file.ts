/** Reads docker-compose.yml, and what it would run: commands, environments and health checks of its services. */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';

export const projectFolder = resolve(import.meta.dirname, '../..');

/** The parts of a compose file that the tests execute. */
const service = z.looseObject({
  image: z.string().optional(),
  entrypoint: z.array(z.string()).optional(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()).optional(),
  secrets: z.array(z.string()).optional(),
  ports: z.array(z.string()).optional(),
  healthcheck: z.looseObject({ test: z.array(z.string()) }).optional(),
});
const composeFile = z.looseObject({
  services: z.record(z.string(), service),
  secrets: z.record(z.string(), z.object({ file: z.string() })),
});

export type ComposeService = z.infer<typeof service>;
export type ComposeFile = z.infer<typeof composeFile>;

/** Reads a compose file of the project; merge keys (`<<`) are resolved, variables are not. */
export async function readComposeFile(path = 'docker-compose.yml'): Promise<ComposeFile> {
  return composeFile.parse(parse(await readFile(join(projectFolder, path), 'utf8'), { merge: true }));
}

/** A service by its name; a name that isn't there is a fault of the file. */
export function serviceOf(file: ComposeFile, name: string): ComposeService {
  const service = file.services[name];
  if (service === undefined) throw new Error(`docker-compose.yml has no service "${name}".`);
  return service;
}

/** In compose files `$$` stands for one `$`. */
export function unescapeDollars(text: string): string {
  return text.replaceAll('$$', '$');
}

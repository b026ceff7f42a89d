/** The reference, made from the schema: the JSON Schema of a configuration file, and a list of all keys. */
import { z } from 'zod';
import { schema } from './schema.ts';
import { tokenFunction } from './schema/token.ts';

/**
 * The JSON Schema of a configuration file, for editors. Every key may be absent, as in the type `ConfigFile`, because it can
 * come from a variable; secrets should.
 */
export function configJsonSchema(): Record<string, unknown> {
  const { required: _, properties, ...whole } = schemaOfAll();
  const { required: __, ...client } = properties?.['client'] ?? {};
  const $schema = { type: 'string', description: 'The address of this schema.' };
  return { ...whole, properties: { $schema, ...properties, client } };
}

function schemaOfAll(): SchemaNode {
  return z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      // Only code can hold a function: nothing in a file is one.
      if (zodSchema === tokenFunction) jsonSchema.not = {};
      if (!isCheckedFirst(zodSchema)) return;
      const { $schema: _, ...checked } = z.toJSONSchema(zodSchema.def.out, { io: 'input' });
      Object.assign(jsonSchema, checked);
    },
  }) as SchemaNode;
}

/** Whether a check that JSON Schema can't say comes before the schema itself. */
function isCheckedFirst(zodSchema: unknown): zodSchema is z.ZodPipe {
  return zodSchema instanceof z.ZodPipe && zodSchema.def.in instanceof z.ZodCustom;
}

/** One row of the reference. */
export interface ConfigKey {
  /** The key's dotted path; `[]` stands for each member of a list. */
  readonly path: string;
  readonly description: string;
  /** Type, range and allowed values, in Markdown. */
  readonly type: string;
  readonly required: boolean;
  /** As JSON. */
  readonly defaultValue: string | undefined;
}

/** Every key of the configuration, in the schema's order. */
export function configKeys(): readonly ConfigKey[] {
  return keysBelow(schemaOfAll(), '');
}

/** The parts of a JSON Schema that ours has. */
interface SchemaNode {
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly string[];
  readonly const?: unknown;
  readonly anyOf?: readonly SchemaNode[];
  /** On what no file can hold. */
  readonly not?: object;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly default?: unknown;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly additionalProperties?: SchemaNode | boolean;
}

function keysBelow(node: SchemaNode, prefix: string): readonly ConfigKey[] {
  const keys: ConfigKey[] = [];
  for (const [key, child] of Object.entries(node.properties ?? {})) {
    const path = `${prefix}${key}`;
    if (child.description !== undefined) {
      keys.push({
        path,
        description: child.description,
        type: typeOf(child),
        required: node.required?.includes(key) === true,
        defaultValue: child.default === undefined ? undefined : JSON.stringify(child.default),
      });
    }
    for (const each of [child, ...(child.anyOf ?? [])]) {
      keys.push(...keysBelow(each, `${path}.`), ...keysBelow(each.items ?? {}, `${path}[].`));
    }
  }
  return keys;
}

function typeOf(node: SchemaNode): string {
  if (node.const !== undefined) return `\`${JSON.stringify(node.const)}\``;
  if (node.enum !== undefined) return node.enum.map((value) => `\`${value}\``).join(', ');
  if (node.not !== undefined) return 'a function in code';
  if (node.anyOf !== undefined) return [...new Set(node.anyOf.map(typeOf))].join(' or ');
  const types = [node.type ?? []].flat();
  if (types.length > 1) return types.map((type) => typeOf({ ...node, type })).join(' or ');
  const inWords = words[types[0] ?? ''];
  if (inWords !== undefined) return inWords(node);
  throw new Error(`The reference has no word for the type "${types.join()}": add one to words.`);
}

const words: Readonly<Record<string, (node: SchemaNode) => string>> = {
  string: () => 'text',
  boolean: () => '`true`, `false`',
  integer: (node) => `whole number${rangeOf(node)}`,
  number: (node) => `number${rangeOf(node)}`,
  array: ({ items }) => `list of ${items?.type === 'object' ? 'objects' : 'texts'}`,
  object: ({ additionalProperties: member }) =>
    member === false ? 'object' : `object of ${typeof member === 'object' ? typeOf(member) : 'any'}`,
};

/** JSON Schema bounds every whole number by what JavaScript can count to; that bound is no news. */
function rangeOf({ minimum, maximum }: SchemaNode): string {
  const bounded = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER;
  if (minimum === undefined) return bounded ? `, at most ${maximum}` : '';
  return bounded ? ` ${minimum} to ${maximum}` : `, at least ${minimum}`;
}

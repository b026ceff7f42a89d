/** What the architecture's rules look at in a source file: its imports, its functions and how long they are. */
import { join } from 'node:path';
import { parseSync } from 'vite';

export interface Import {
  readonly from: string;
  readonly typeOnly: boolean;
}

/** Static, re-exporting and dynamic imports. */
export function importsOf(source: string): Import[] {
  const statements = source.matchAll(/^(?:import|export)\s+(type\s)?(?:[^;'"]*?\sfrom\s+)?'([^']+)'/gm);
  const dynamic = source.matchAll(/\bimport\('([^']+)'\)/g);
  return [
    ...[...statements].map(([, type, from = '']) => ({ from, typeOnly: type !== undefined })),
    ...[...dynamic].map(([, from = '']) => ({ from, typeOnly: false })),
  ];
}

/** A circle of imports, types included, as the paths that it goes through; undefined if there is none. */
export function importCircle(files: ReadonlyMap<string, string>): readonly string[] | undefined {
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): readonly string[] | undefined => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path];
    if (done.has(path)) return undefined;
    done.add(path);
    for (const { from } of importsOf(files.get(path) ?? '')) {
      const circle = from.startsWith('.') ? visit(join(path, '..', from), [...trail, path]) : undefined;
      if (circle !== undefined) return circle;
    }
    return undefined;
  };
  for (const path of files.keys()) {
    const circle = visit(path, []);
    if (circle !== undefined) return circle;
  }
  return undefined;
}

export interface MeasuredFunction {
  readonly name: string;
  /** Lines with code, from the first to the last; comments and blank lines don't count. */
  readonly lines: number;
  /** The same without the functions that it holds, but for those of a single line. */
  readonly ownLines: number;
}

interface SyntaxNode {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [key: string]: unknown;
}

/** Every function of a source file, the nested ones included, in their order. */
export function functionsOf(source: string, path = 'source.ts'): MeasuredFunction[] {
  const { program, comments, errors } = parseSync(path, source);
  if (errors.length > 0) throw new SyntaxError(errors[0]?.message);
  const code = withoutComments(source, comments);
  const measured: MeasuredFunction[] = [];
  visitFunctions(program as unknown as SyntaxNode, undefined, (node, name) => {
    const inner = functionsDirectlyIn(node).filter(({ start, end }) => code.slice(start, end).includes('\n'));
    const lines = codeLines(code.slice(node.start, node.end));
    const held = inner.reduce((sum, { start, end }) => sum + codeLines(code.slice(start, end)), 0);
    measured.push({
      name: name ?? `the function in line ${lineAt(source, node.start)}`,
      lines,
      ownLines: lines - held,
    });
  });
  return measured;
}

function visitFunctions(
  node: SyntaxNode,
  name: string | undefined,
  visit: (node: SyntaxNode, name: string | undefined) => void,
): void {
  if (isFunction(node)) visit(node, nameIn(node['id']) ?? name);
  for (const child of childrenOf(node)) visitFunctions(child, nameFor(node, child), visit);
}

function functionsDirectlyIn(node: SyntaxNode): SyntaxNode[] {
  return childrenOf(node).flatMap((child) => (isFunction(child) ? [child] : functionsDirectlyIn(child)));
}

function isFunction({ type, body }: SyntaxNode): boolean {
  return /^(?:FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/.test(type) && isNode(body);
}

function childrenOf(node: SyntaxNode): SyntaxNode[] {
  return Object.values(node).flat().filter(isNode);
}

function isNode(value: unknown): value is SyntaxNode {
  return value instanceof Object && 'type' in value && 'start' in value;
}

/** The name under which a variable, a property or a method holds a function. */
function nameFor(parent: SyntaxNode, child: SyntaxNode): string | undefined {
  if (parent.type === 'VariableDeclarator') return nameIn(parent['id']);
  return parent['value'] === child ? nameIn(parent['key']) : undefined;
}

function nameIn(node: unknown): string | undefined {
  return isNode(node) && typeof node['name'] === 'string' ? node['name'] : undefined;
}

/** Comments become blanks, so that positions stay. */
function withoutComments(source: string, comments: readonly { start: number; end: number }[]): string {
  const blanked = comments.toReversed().reduce((text, { start, end }) => {
    return text.slice(0, start) + text.slice(start, end).replace(/[^\n]/g, ' ') + text.slice(end);
  }, source);
  return blanked;
}

function codeLines(code: string): number {
  return code.split('\n').filter((line) => line.trim() !== '').length;
}

function lineAt(source: string, position: number): number {
  return source.slice(0, position).split('\n').length;
}

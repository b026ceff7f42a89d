/** A stand-in for Open Policy Agent: takes questions by its REST API (`POST /v1/data/…`), records them, and answers as scripted. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { abortWith, readBody, startListener } from './listener.ts';

export interface PolicyQuestion {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  readonly input: Record<string, unknown>;
}

/** Writes the answer itself. */
export type PolicyHandler = (question: PolicyQuestion, response: ServerResponse) => void;

export interface PolicyAgent {
  readonly url: string;
  readonly questions: PolicyQuestion[];
  /** Decides from now on: a value is the `result`, undefined for none; a function answers raw. */
  readonly decide: (result: unknown) => void;
  readonly handle: (handler: PolicyHandler) => void;
  readonly down: () => Promise<void>;
  readonly up: () => Promise<void>;
  readonly close: () => Promise<void>;
}

export async function startPolicyAgent(): Promise<PolicyAgent> {
  const questions: PolicyQuestion[] = [];
  let handler: PolicyHandler = answering({ result: true });

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = (await readBody(request)).toString();
    const { input = {} } = JSON.parse(text) as { input?: Record<string, unknown> };
    const { method = '', url: path = '', headers } = request;
    const question = { method, path, headers, text, input };
    questions.push(question);
    handler(question, response);
  }

  const listener = await startListener((request, response) => {
    serve(request, response).catch(abortWith(response));
  });
  return {
    url: `http://127.0.0.1:${listener.port}`,
    questions,
    decide: (result) => (handler = answering(result === undefined ? {} : { result })),
    handle: (next) => (handler = next),
    down: () => listener.close(),
    up: () => listener.reopen(),
    close: () => listener.close(),
  };
}

function answering(answer: unknown): PolicyHandler {
  return (_question, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  };
}

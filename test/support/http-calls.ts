/**
 * HTTP as it is on the wire: any header, `Host` too, kept connections, bodies piece by piece.
 * `fetch` would refuse or change some of it.
 */
import {
  Agent,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
} from "node:http";
import { once } from "node:events";

export interface CallInit {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Uint8Array;
  /** Sent as JSON, by POST unless `method` says otherwise. */
  readonly json?: unknown;
  /** @default 20,000 */
  readonly withinMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  readonly text: string;
  /** The body as JSON; undefined if it is none. */
  readonly json: unknown;
  /** `x-isola-error`. */
  readonly code: string | undefined;
}

/** A call whose request body is written, and whose answer is read, by the test. */
export interface OpenCall {
  readonly request: ClientRequest;
  /** The head of the answer. */
  readonly response: Promise<IncomingMessage>;
}

export class HttpCaller {
  readonly #origin: string;
  readonly #agent: Agent;

  constructor(origin: string, maxSockets = 64) {
    this.#origin = origin;
    this.#agent = new Agent({ keepAlive: true, maxSockets });
  }

  async call(path: string, init: CallInit = {}): Promise<Answer> {
    const { body, headers } = bodyOf(init);
    const method = init.method ?? (body === undefined ? "GET" : "POST");
    const { request: sent, response } = this.open(path, { ...init, method, headers }, this.#agent);
    const timer = setTimeout(
      () => sent.destroy(new Error(`${method} ${path.slice(0, 80)}: no answer in time`)),
      init.withinMs ?? 20_000,
    );
    try {
      sent.end(body);
      return await readAnswer(await response);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends the head; without an agent of its own the connection belongs to this call alone. */
  open(path: string, init: CallInit = {}, agent?: Agent): OpenCall {
    const url = new URL(this.#origin);
    const sent = request({
      host: url.hostname,
      port: url.port,
      path,
      method: init.method ?? "GET",
      headers: { ...init.headers } as Record<string, string | string[]>,
      agent: agent ?? false,
    });
    const response = once(sent, "response").then(([message]) => message as IncomingMessage);
    // Whoever waits for the answer gets the error; nobody has to.
    response.catch(() => undefined);
    sent.on("error", () => undefined);
    return { request: sent, response };
  }

  close(): void {
    this.#agent.destroy();
  }
}

interface Prepared {
  readonly body: string | Uint8Array | undefined;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
}

function bodyOf(init: CallInit): Prepared {
  const headers = init.headers ?? {};
  if (init.json === undefined) {
    const { body } = init;
    if (body === undefined) return { body, headers };
    return { body, headers: { "content-length": String(Buffer.byteLength(body)), ...headers } };
  }
  const body = JSON.stringify(init.json);
  const length = String(Buffer.byteLength(body));
  return {
    body,
    headers: { "content-type": "application/json", "content-length": length, ...headers },
  };
}

export async function readAnswer(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  const text = bytes.toString("utf8");
  const code = response.headers["x-isola-error"];
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    bytes,
    text,
    json: parse(text),
    code: typeof code === "string" ? code : undefined,
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

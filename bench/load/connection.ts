/**
 * One keep-alive HTTP/1.1 connection that sends a prepared request and finds the end of its
 * answer. It parses no more than that: the generator shares the machine with what it measures.
 */
import { type Socket, connect } from "node:net";

export interface Answer {
  readonly status: number;
  /** Status line and headers. */
  readonly head: string;
  /** What came behind them. */
  readonly text: () => string;
}

type Settle = (answer: Answer | Error) => void;

const HEAD_END = Buffer.from("\r\n\r\n");
const LAST_CHUNK = Buffer.from("0\r\n\r\n");

export class Connection {
  readonly #url: URL;
  readonly #get: Buffer;
  readonly #posts = new Map<string, Buffer>();
  #socket: Socket | undefined;
  #settle: Settle | undefined;
  #received: Buffer | undefined;

  constructor(url: string) {
    this.#url = new URL(url);
    this.#get = Buffer.from(`GET ${this.#path()} HTTP/1.1\r\nhost: ${this.#url.host}\r\n\r\n`);
  }

  async open(): Promise<void> {
    const socket = connect({ host: this.#url.hostname, port: Number(this.#url.port) });
    socket.setNoDelay(true);
    this.#socket = socket;
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", (error) => this.#finish(error));
    socket.on("close", () => this.#finish(new Error("the connection was closed")));
  }

  get isOpen(): boolean {
    return this.#socket?.readyState === "open";
  }

  close(): void {
    this.#socket?.destroy();
  }

  /**
   * Sends the request; `settle` is called once, with the answer or what went wrong.
   *
   * @param json body of a POST. @default a GET
   */
  send(settle: Settle, json?: string): void {
    this.#settle = settle;
    this.#received = undefined;
    this.#socket?.write(json === undefined ? this.#get : this.#post(json));
  }

  /** One request and its answer. */
  ask(json?: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const settle: Settle = (result) =>
        result instanceof Error ? reject(result) : resolve(result);
      this.send(settle, json);
    });
  }

  #path(): string {
    return this.#url.pathname + this.#url.search;
  }

  /** The few requests that there are, each made once. */
  #post(json: string): Buffer {
    const known = this.#posts.get(json);
    if (known) return known;
    const made = Buffer.from(
      `POST ${this.#path()} HTTP/1.1\r\nhost: ${this.#url.host}\r\n` +
        `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(json)}\r\n\r\n` +
        json,
    );
    this.#posts.set(json, made);
    return made;
  }

  #finish(result: Answer | Error): void {
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(result);
  }

  #take(chunk: Buffer): void {
    const data = this.#received ? Buffer.concat([this.#received, chunk]) : chunk;
    this.#received = data;
    const headEnd = data.indexOf(HEAD_END);
    if (headEnd === -1) return;
    const head = data.toString("latin1", 0, headEnd);
    const status = Number(head.slice(9, 12));
    const bodyAt = headEnd + HEAD_END.length;
    if (!isWhole(head, data, bodyAt, status)) return;
    this.#finish({ status, head, text: () => textOf(head, data.subarray(bodyAt)) });
  }
}

/** Body of an answer that is there as a whole. */
function textOf(head: string, body: Buffer): string {
  if (!/\r\ntransfer-encoding: *chunked/i.test(head)) return body.toString();
  const pieces: Buffer[] = [];
  for (let at = 0; ;) {
    const lineEnd = body.indexOf("\r\n", at);
    const size = Number.parseInt(body.toString("latin1", at, lineEnd), 16);
    if (!(size > 0)) return Buffer.concat(pieces).toString();
    pieces.push(body.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
}

function isWhole(head: string, data: Buffer, bodyAt: number, status: number): boolean {
  if (status === 204 || status === 304) return true;
  const lengthBytes = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (lengthBytes !== undefined) return data.length >= bodyAt + Number(lengthBytes);
  const end = data.subarray(-LAST_CHUNK.length);
  return data.length >= bodyAt + LAST_CHUNK.length && end.equals(LAST_CHUNK);
}

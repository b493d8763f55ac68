/**
 * One keep-alive HTTP/1.1 connection that sends a prepared request and finds the end of its
 * answer. It parses no more than that: the generator shares the machine with what it measures.
 */
import { type Socket, connect } from "node:net";

export interface Answer {
  readonly status: number;
  /** Status line and headers. */
  readonly head: string;
}

type Settle = (answer: Answer | Error) => void;

const HEAD_END = Buffer.from("\r\n\r\n");
const LAST_CHUNK = Buffer.from("0\r\n\r\n");

export class Connection {
  readonly #url: URL;
  readonly #request: Buffer;
  #socket: Socket | undefined;
  #settle: Settle | undefined;
  #received: Buffer | undefined;

  constructor(url: string) {
    this.#url = new URL(url);
    const path = this.#url.pathname + this.#url.search;
    this.#request = Buffer.from(`GET ${path} HTTP/1.1\r\nhost: ${this.#url.host}\r\n\r\n`);
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

  /** Sends the request; `settle` is called once, with the answer or what went wrong. */
  send(settle: Settle): void {
    this.#settle = settle;
    this.#received = undefined;
    this.#socket?.write(this.#request);
  }

  /** One request and its answer. */
  ask(): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.send((result) => (result instanceof Error ? reject(result) : resolve(result)));
    });
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
    if (isWhole(head, data, headEnd + HEAD_END.length, status)) this.#finish({ status, head });
  }
}

function isWhole(head: string, data: Buffer, bodyAt: number, status: number): boolean {
  if (status === 204 || status === 304) return true;
  const lengthBytes = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (lengthBytes !== undefined) return data.length >= bodyAt + Number(lengthBytes);
  const end = data.subarray(-LAST_CHUNK.length);
  return data.length >= bodyAt + LAST_CHUNK.length && end.equals(LAST_CHUNK);
}

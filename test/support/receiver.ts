/** A server that callbacks come to: it keeps what it was told and answers as the test says. */
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { until } from "./until.ts";

/** What came in. */
export interface Received {
  readonly path: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  readonly atMs: number;
}

export interface ReceiverAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** @default 0 */
  readonly afterMs?: number;
  /** It never answers. */
  readonly isSilent?: boolean;
}

/** @param count of requests to that path, this one included. */
type Script = (path: string, count: number) => ReceiverAnswer;

export class Receiver {
  readonly received: Received[] = [];
  readonly #server: Server;
  readonly #script: Script;

  private constructor(script: Script) {
    this.#script = script;
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const { url: path = "", method = "", headers } = request;
        const body = Buffer.concat(chunks);
        this.received.push({ path, method, headers, body, atMs: Date.now() });
        const answer = this.#script(path, this.at(path).length);
        if (answer.isSilent === true) return;
        setTimeout(() => {
          response.writeHead(answer.status ?? 204, answer.headers).end();
        }, answer.afterMs ?? 0);
      });
    });
  }

  /** @param port 0: any free one. */
  static async open(script: Script = () => ({}), port = 0): Promise<Receiver> {
    const receiver = new Receiver(script);
    await new Promise<void>((resolve, reject) => {
      receiver.#server.once("error", reject);
      receiver.#server.listen(port, "127.0.0.1", resolve);
    });
    return receiver;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  url(path: string): string {
    return `http://127.0.0.1:${String(this.port)}${path}`;
  }

  at(path: string): Received[] {
    return this.received.filter((one) => one.path === path);
  }

  /** Resolves with what came to the path, once there is so much of it. */
  async until(path: string, count = 1, withinMs = 20_000): Promise<Received[]> {
    await until(() => this.at(path).length >= count, withinMs);
    return this.at(path);
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }
}

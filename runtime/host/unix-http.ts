/** Small HTTP requests over unix sockets: how the host talks to the processes it runs. */
import { Agent, request } from "node:http";

export interface UnixReply {
  readonly status: number;
  readonly text: string;
}

/** One peer; connections are kept between requests. */
export class UnixClient {
  readonly #socketPath: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 8 });

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** Rejects if the peer cannot be reached or does not answer within `boundMs`. */
  send(method: string, path: string, boundMs: number, body?: unknown): Promise<UnixReply> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers = text === undefined ? {} : { "content-type": "application/json" };
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          socketPath: this.#socketPath,
          method,
          path,
          agent: this.#agent,
          headers: { host: "isola", ...headers },
          signal: AbortSignal.timeout(boundMs),
        },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
          incoming.on("error", reject);
          incoming.on("end", () => {
            resolve({
              status: incoming.statusCode ?? 0,
              text: Buffer.concat(chunks).toString("utf8"),
            });
          });
        },
      );
      outgoing.on("error", reject);
      outgoing.end(text);
    });
  }

  /** Ends kept connections; the next request opens a new one. */
  reset(): void {
    this.#agent.destroy();
  }
}

/** What a process answered; undefined if it is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

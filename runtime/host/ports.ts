/**
 * The TCP ports of the gateway. The host opens them, so that a port in use is found before
 * anything is started and a free port stays the same over the gateway's lives; the gateway gets
 * the descriptors.
 */
import { type AddressInfo, type Server, createServer } from "node:net";
import { IsolaError } from "../contract/index.ts";

export interface PortRequest {
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
  /** Flag that chooses it. */
  readonly flag: string;
}

export class ListeningPort {
  readonly #request: PortRequest;
  #server: Server | undefined;
  #port: number;
  #address: string;

  constructor(request: PortRequest) {
    this.#request = request;
    this.#port = request.port;
    this.#address = request.host;
  }

  get port(): number {
    return this.#port;
  }

  /** The address it listens on, resolved. */
  get host(): string {
    return this.#address;
  }

  get url(): string {
    const { host } = this.#request;
    const shown = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
    return `http://${shown.includes(":") ? `[${shown}]` : shown}:${this.#port}`;
  }

  /** Opens it unless it is open. Errors: PORT_IN_USE, START_FAILED. */
  async open(): Promise<void> {
    if (this.#server !== undefined) return;
    // Whoever connects before the gateway has the descriptor would wait for nothing.
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) => reject(this.#refused(error)));
      server.listen(this.#port, this.#request.host, resolve);
    });
    const { address, port } = server.address() as AddressInfo;
    this.#address = address;
    this.#port = port;
    this.#server = server;
  }

  /** The open descriptor, for a child to inherit; `close` after the child was spawned. */
  descriptor(): number {
    const handle = (this.#server as unknown as { _handle?: { fd?: number } })._handle;
    return handle?.fd ?? -1;
  }

  /** Leaves the port to the child that inherited it. */
  close(): void {
    this.#server?.close();
    this.#server = undefined;
  }

  #refused(error: NodeJS.ErrnoException): IsolaError {
    const { host, flag } = this.#request;
    const attempted = `listen on ${host}:${this.#port}`;
    if (error.code === "EADDRINUSE") {
      const fix = `pass another ${flag}, or stop what holds port ${this.#port}`;
      const parts = { attempted, found: `port ${this.#port} in use`, required: "a free port", fix };
      return new IsolaError("PORT_IN_USE", parts, { cause: error });
    }
    return new IsolaError(
      "START_FAILED",
      {
        attempted,
        found: error.code ?? error.message,
        required: "an address and port that this user may listen on",
        fix: `pass another ${flag} or ${flag.replace("port", "host")}`,
      },
      { cause: error },
    );
  }
}

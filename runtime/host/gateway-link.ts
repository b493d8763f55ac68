/**
 * What the host tells the gateway. Reliable words wait for a gateway that is being restarted;
 * passing words (metrics, disconnects) are lost with it, for the next ones replace them.
 *
 * K1 Reliable words arrive in order, each once as far as the gateway's own death allows: one that
 *    was answered is never repeated.
 * K2 The queue is bounded: beyond it the oldest word leaves.
 */
import type { CellsReport, HostMetrics, TelemetryBatch, Verdict } from "../contract/index.ts";
import { GATEWAY_CONTROL, LIMITS, parseErrorData, IsolaError } from "../contract/index.ts";
import type { Timers } from "./system-timers.ts";
import { type UnixClient, parseJson } from "./unix-http.ts";

const QUEUE_MAX = 1_000;
const SEND_BOUND_MS = 5_000;
const RETRY_DELAY_MS = 100;
const READY_BOUND_MS = 5_000;

interface Word {
  readonly path: string;
  readonly body: unknown;
}

export class GatewayLink {
  readonly #client: UnixClient;
  readonly #timers: Timers;
  #queue: Word[] = [];
  #sending = false;
  #up = false;

  constructor(client: UnixClient, timers: Timers) {
    this.#client = client;
    this.#timers = timers;
  }

  setUp(up: boolean): void {
    this.#up = up;
    if (!up) this.#client.reset();
    void this.#flush();
  }

  /** Only the newest report counts. */
  cells(report: CellsReport): void {
    this.#queue = this.#queue.filter(({ path }) => path !== GATEWAY_CONTROL.cells);
    this.#tell(GATEWAY_CONTROL.cells, report);
  }

  verdict(verdict: Verdict): void {
    this.#tell(GATEWAY_CONTROL.verdict, verdict);
  }

  telemetry(batch: TelemetryBatch): void {
    this.#tell(GATEWAY_CONTROL.telemetry, batch);
  }

  metrics(metrics: HostMetrics): void {
    this.#mention(GATEWAY_CONTROL.metrics, metrics);
  }

  disconnects(clients: readonly string[]): void {
    this.#mention(GATEWAY_CONTROL.disconnects, { clients });
  }

  /** True once the registry is read. Throws what the gateway says is damaged. */
  async isReady(): Promise<boolean> {
    let reply;
    try {
      reply = await this.#client.send("GET", GATEWAY_CONTROL.ready, READY_BOUND_MS);
    } catch {
      return false;
    }
    if (reply.status < 300) return true;
    const data = parseErrorData(parseJson(reply.text));
    if (data !== undefined) throw IsolaError.fromData(data);
    return false;
  }

  /** Resolves when nothing is in flight, or after the drain bound; false if it did not drain. */
  async drain(): Promise<boolean> {
    if (!this.#up) return false;
    try {
      const reply = await this.#client.send("POST", GATEWAY_CONTROL.drain, LIMITS.drainMs, {});
      return reply.status < 300;
    } catch {
      return false;
    }
  }

  #tell(path: string, body: unknown): void {
    this.#queue.push({ path, body });
    if (this.#queue.length > QUEUE_MAX) this.#queue.shift();
    void this.#flush();
  }

  #mention(path: string, body: unknown): void {
    if (!this.#up) return;
    this.#client.send("POST", path, SEND_BOUND_MS, body).catch(() => undefined);
  }

  async #flush(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    while (this.#up) {
      const word = this.#queue.shift();
      if (word === undefined) break;
      const sent = await this.#client
        .send("POST", word.path, SEND_BOUND_MS, word.body)
        // A refusal is an answer: repeating it would only repeat the refusal (K1).
        .then(() => true)
        .catch(() => false);
      if (sent) continue;
      const replaced = word.path === GATEWAY_CONTROL.cells && this.#queue.some(isCells);
      if (!replaced) this.#queue.unshift(word);
      await this.#timers.sleep(RETRY_DELAY_MS);
    }
    this.#sending = false;
  }
}

const isCells = ({ path }: Word): boolean => path === GATEWAY_CONTROL.cells;

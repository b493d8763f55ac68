/**
 * A cell's state: one per isolate of the cell worker, made by the first event and kept.
 * Module-level on purpose: the loader, the routing table and the calls in flight belong to the
 * process, not to a request.
 */
import {
  type LogLine,
  RoutingTable,
  type ShimLine,
  type SuspectNews,
  suspectKey,
  systemClock,
  systemRandom,
} from "../contract/index.ts";
import type { CallEnvelope, Random } from "../contract/index.ts";
import type { CellBindings } from "./cell-bindings.worker.ts";
import { Isolates } from "./isolates.worker.ts";
import { LiveCalls } from "./live-calls.worker.ts";
import { writeCrumb } from "./stdout.worker.ts";
import { openShards } from "./shard/open-shards.worker.ts";
import { SupplyClient } from "./supply-client.worker.ts";
import { TelemetryBuffer } from "./telemetry-buffer.worker.ts";

/** Whose console lines they are. */
type Speaker = Pick<CallEnvelope, "id" | "ns" | "fn" | "v">;

export class Cell {
  readonly bindings: CellBindings;
  readonly supply: SupplyClient;
  readonly isolates: Isolates;
  readonly live = new LiveCalls();
  readonly telemetry: TelemetryBuffer;
  readonly random: Random = systemRandom;
  readonly now = (): number => systemClock.now();
  /** `namespace/function@version` of versions that must not run here. */
  suspects: ReadonlySet<string> = new Set();
  /** Versions on trial: in the probation cell they call no other. */
  alone: ReadonlySet<string> = new Set();
  readonly #table = new RoutingTable();
  #hasHeard = false;
  #tableReady: Promise<void> | undefined;
  #hasOpened = false;

  constructor(bindings: CellBindings) {
    this.bindings = bindings;
    this.supply = new SupplyClient(bindings.supply);
    this.isolates = new Isolates(bindings, this.supply, this.now);
    this.telemetry = new TelemetryBuffer(this.supply, this.now);
  }

  /** The routing table, read from the gateway once; changes are pushed from then on. */
  async routing(): Promise<RoutingTable> {
    this.#tableReady ??= this.#readTable();
    await this.#tableReady;
    return this.#table;
  }

  /** What the gateway says of suspects. */
  hear({ suspects, alone }: SuspectNews): void {
    this.#hasHeard = true;
    this.suspects = new Set(suspects);
    this.alone = new Set(alone);
  }

  /** The table as it is, for changes: they apply on top of whatever is read later. */
  get table(): RoutingTable {
    return this.#table;
  }

  /**
   * Tells the watchdog that tenant code is about to run. Said here and not by the shim: what
   * stands in a tenant's isolate, tenant code can replace.
   */
  sayEntered(call: CallEnvelope): void {
    const left = this.live.takeLeft();
    const entered = `E ${call.id} ${suspectKey(call.ns, call.fn, call.v)} ${call.mb}`;
    const { mark } = this.bindings;
    writeCrumb(mark, left.length === 0 ? entered : `L ${left.join(" ")} ${entered}`);
  }

  addLogs(ctx: ExecutionContext, call: Speaker, lines: readonly ShimLine[]): void {
    if (lines.length === 0) return;
    const identity = { callId: call.id, namespace: call.ns, function: call.fn, version: call.v };
    this.telemetry.addLogs(
      ctx,
      lines.map(({ atMs, level, text }): LogLine => ({ ...identity, atMs, level, text })),
    );
  }

  /**
   * Resolves when what is on disk has been read: before that the cell is not ready. Errors:
   * `DATA_CORRUPT`.
   */
  async openShards(): Promise<void> {
    if (this.#hasOpened) return;
    await openShards(this.bindings.shards);
    this.#hasOpened = true;
  }

  async #readTable(): Promise<void> {
    try {
      const { suspects, alone, ...snapshot } = await this.supply.snapshot();
      this.#table.load(snapshot);
      // What the gateway said of itself meanwhile is newer.
      if (!this.#hasHeard) this.hear({ suspects, alone });
    } catch (thrown) {
      this.#tableReady = undefined;
      throw thrown;
    }
  }
}

let cell: Cell | undefined;

/** The process's cell; `bindings` count at the first call only. */
export function cellOf(bindings: () => CellBindings): Cell {
  cell ??= new Cell(bindings());
  return cell;
}

/** The cell, for entrypoints that run after it was made. */
export function currentCell(): Cell | undefined {
  return cell;
}

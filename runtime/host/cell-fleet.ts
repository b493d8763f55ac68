/** All cells of a platform: which exist, who owns them, and the rounds of the watchdog. */
import {
  type CellsReport,
  IsolaError,
  LIMITS,
  PROBATION_SLOT,
  type TelemetryBatch,
  slotOfShard,
} from "../contract/index.ts";
import { CellProcess, WATCH_PERIODS } from "./cell-process.ts";
import type { GatewayLink } from "./gateway-link.ts";
import type { RunsKept, ShardBudgets } from "./shard-budgets.ts";
import { type DedicatedSlots, dedicateSlots, formatDedicated, parseDedicated } from "./slots.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Cancel } from "./system-timers.ts";
import type { CellDeath } from "./watchdog.ts";
import { readOptional, writeWhole } from "./whole-file.ts";

export interface FleetParts {
  readonly around: Surroundings;
  /** The cell worker's program. */
  readonly code: string;
  readonly sharedCells: number;
  /** Shards of the installation, spread over the shared cells. */
  readonly shards: number;
  readonly budgets: ShardBudgets;
  readonly runs: RunsKept;
  readonly hasColdTier: boolean;
  readonly memoryMb: number;
  readonly link: GatewayLink;
}

export class CellFleet {
  readonly #parts: FleetParts;
  readonly #cells = new Map<number, CellProcess>();
  #dedicated: DedicatedSlots;
  #timers: Cancel[] = [];
  #reporting = false;
  #ended = false;

  constructor(parts: FleetParts) {
    this.#parts = parts;
    const text = readOptional(parts.around.layout.dedicatedFile);
    this.#dedicated = parseDedicated(text, parts.sharedCells);
  }

  /** Resolves when every cell answers. Errors: START_FAILED. */
  async start(): Promise<void> {
    const { timers } = this.#parts.around;
    const each = (run: (cell: CellProcess) => void) => (): void => {
      for (const cell of this.#cells.values()) run(cell);
    };
    this.#timers = [
      timers.every(
        WATCH_PERIODS.sampleMs,
        each((cell) => cell.sample()),
      ),
      timers.every(
        WATCH_PERIODS.pingMs,
        each((cell) => cell.ping()),
      ),
      timers.every(
        WATCH_PERIODS.memoryMs,
        each((cell) => cell.checkMemory()),
      ),
    ];
    const shared = Array.from({ length: this.#parts.sharedCells }, (_, slot) => slot);
    const first = [...shared, PROBATION_SLOT].map((slot) => this.#startCell(slot, undefined));
    const dedicated = [...this.#dedicated].flatMap(([namespace, slots]) =>
      slots.map((slot) => this.#startCell(slot, namespace)),
    );
    await Promise.all([...first, ...dedicated]);
  }

  /** Tells the cells that hold shards how much space their files have. */
  tellDisk(freeBytes: number): void {
    for (const cell of this.#cells.values()) cell.tellDisk(freeBytes);
  }

  report(): CellsReport {
    const cells = [...this.#cells.values()].map((cell) => cell.info);
    return { cells: cells.sort((one, other) => one.slot - other.slot) };
  }

  processes(): { name: string; pid: number }[] {
    return [...this.#cells.values()].flatMap((cell) =>
      cell.process.pid === undefined ? [] : [{ name: cell.name, pid: cell.process.pid }],
    );
  }

  /** Errors: NOT_FOUND. */
  async restart(slot: number): Promise<void> {
    const cell = this.#cells.get(slot);
    if (cell === undefined) {
      throw new IsolaError("NOT_FOUND", {
        attempted: `restart cell ${slot}`,
        found: `cells ${[...this.#cells.keys()].join(", ")}`,
        required: "the number of a cell that exists",
        fix: "isola cells lists them",
      });
    }
    await cell.process.restart();
  }

  /** Gives a namespace cells of its own, or takes them away. Idempotent. Errors: CAPACITY. */
  async dedicate(namespace: string, count: number): Promise<CellsReport> {
    const before = this.#dedicated.get(namespace) ?? [];
    const next = dedicateSlots(this.#dedicated, this.#parts.sharedCells, namespace, count);
    writeWhole(this.#parts.around.layout.dedicatedFile, formatDedicated(next), 0o600);
    this.#dedicated = next;
    const after = next.get(namespace) ?? [];
    await Promise.all([
      ...before.filter((slot) => !after.includes(slot)).map((slot) => this.#removeCell(slot)),
      ...after.map((slot) => this.#ensureCell(slot, namespace)),
    ]);
    return this.report();
  }

  async stop(): Promise<void> {
    this.#ended = true;
    for (const cancel of this.#timers) cancel();
    await Promise.all([...this.#cells.values()].map((cell) => cell.process.stop()));
    for (const cell of this.#cells.values()) cell.close();
  }

  async #ensureCell(slot: number, namespace: string): Promise<void> {
    const cell = this.#cells.get(slot);
    if (cell === undefined) await this.#startCell(slot, namespace);
  }

  async #removeCell(slot: number): Promise<void> {
    const cell = this.#cells.get(slot);
    if (cell === undefined) return;
    await cell.drain(LIMITS.drainMs);
    await cell.process.stop();
    cell.close();
    this.#cells.delete(slot);
    this.#changed();
  }

  #startCell(slot: number, namespace: string | undefined): Promise<void> {
    const { around, code, memoryMb, shards, budgets, runs, hasColdTier } = this.#parts;
    const common = slot === PROBATION_SLOT ? "probation" : "shared";
    const role = namespace === undefined ? common : "dedicated";
    const cell = new CellProcess({
      around,
      settings: {
        slot,
        role,
        ...(namespace === undefined ? {} : { namespace }),
        maxIsolates: LIMITS.isolatesPerCell,
        shards,
        ownShards: this.#shardsOf(slot),
        budgets,
        runs,
        hasColdTier,
      },
      code,
      memoryMb,
      died: (death) => this.#died(death),
      changed: () => this.#changed(),
    });
    this.#cells.set(slot, cell);
    return cell.process.start();
  }

  #shardsOf(slot: number): number[] {
    const { shards, sharedCells } = this.#parts;
    if (slot >= sharedCells) return [];
    return Array.from({ length: shards }, (_, shard) => shard).filter(
      (shard) => slotOfShard(shard, sharedCells) === slot,
    );
  }

  #died(death: CellDeath): void {
    const { link } = this.#parts;
    link.verdict(death.verdict);
    if (death.logs.length === 0) return;
    const batch: TelemetryBatch = { calls: [], logs: death.logs, spans: [] };
    link.telemetry(batch);
  }

  /** Several changes of one turn make one report. */
  #changed(): void {
    if (this.#reporting || this.#ended) return;
    this.#reporting = true;
    queueMicrotask(() => {
      this.#reporting = false;
      if (!this.#ended) this.#parts.link.cells(this.report());
    });
  }
}

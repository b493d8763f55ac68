/**
 * Asks the shards what they hold and did, tells them what namespaces may hold, and has the
 * registry keep it.
 *
 * 1. A quota holds over all shards. Each is told the quota less what the others hold, every few
 *    seconds, when a cell comes up and when a quota changes; what several shards take between two
 *    tellings may exceed it by that much.
 * 2. What belongs to a namespace that is no more is ended wherever it is found, also in a shard
 *    that was down when the namespace was removed (G6).
 */
import { toIsolaError } from "../contract/index.ts";
import type { StoreReport } from "../telemetry/index.ts";
import { askShard, shardsOf } from "./ask-shard.worker.ts";
import { reportBug } from "./report-bug.worker.ts";
import type { GatewayState } from "./state.worker.ts";
import { timeout } from "./system-timers.worker.ts";

/** A shard that does not answer by then counts as down. */
const ANSWER_MS = 1_000;
/** Time between two writes of what the clock alone changed: bytes that lie there. */
const QUIET_PERSIST_MS = 30_000;

export interface ShardState {
  readonly shard: number;
  readonly isUp: boolean;
}

export class StoreMeter {
  readonly #state: GatewayState;
  #keptAtMs = 0;
  #keptOperations = "";
  /** Removed namespaces, with the shards that have not been told. */
  readonly #ending = new Map<string, Set<number>>();

  constructor(state: GatewayState) {
    this.#state = state;
  }

  /** Asks every shard; says which answered. Never throws. */
  async collect(): Promise<ShardState[]> {
    if (!this.#state.isLoaded) return [];
    return Promise.all(
      shardsOf(this.#state).map(async (shard) => {
        const bound = timeout(ANSWER_MS);
        const answered = await Promise.race([this.#ask(shard), bound.elapsed]);
        bound.cancel();
        return { shard, isUp: answered === true };
      }),
    );
  }

  /** Collects, and has the registry keep what is worth a write. Never throws. */
  async settle(): Promise<void> {
    await this.collect();
    const isQuiet = operationsOf(this.#reports()) === this.#keptOperations;
    if (isQuiet && this.#state.clock.now() - this.#keptAtMs < QUIET_PERSIST_MS) return;
    await this.keep();
  }

  /** Has the registry add what it has not seen of what was collected. Never throws. */
  async keep(): Promise<void> {
    const reports = this.#reports();
    if (reports.length === 0) return;
    try {
      await this.#state.note("addStoreUsage", { reports });
      this.#keptOperations = operationsOf(reports);
      this.#keptAtMs = this.#state.clock.now();
    } catch (thrown) {
      report(thrown, "keep the store's usage");
    }
  }

  /** Ends what a removed namespace stored; shards that are down are told later. Never throws. */
  async endNamespace(namespace: string): Promise<void> {
    const shards = new Set(shardsOf(this.#state));
    this.#ending.set(namespace, shards);
    await Promise.all([...shards].map((shard) => this.#tryEnd(namespace, shard)));
  }

  /** Before a namespace of that name begins anew. Errors: `CELL_RESTARTING`. */
  async finishEnding(namespace: string): Promise<void> {
    for (const shard of this.#ending.get(namespace) ?? []) await this.#end(namespace, shard);
  }

  async #tryEnd(namespace: string, shard: number): Promise<void> {
    try {
      await this.#end(namespace, shard);
    } catch (thrown) {
      report(thrown, `end the store of namespace ${namespace}`);
    }
  }

  async #end(namespace: string, shard: number): Promise<void> {
    const question = { shard, namespace, job: "", call: { op: "endNamespace" } } as const;
    await askShard<"endNamespace">(this.#state, question);
    const left = this.#ending.get(namespace);
    left?.delete(shard);
    if (left?.size === 0) this.#ending.delete(namespace);
  }

  /** Those that say anything of anybody. */
  #reports(): StoreReport[] {
    const reports = this.#state.hub.store.reports();
    return reports.filter(({ namespaces }) => Object.keys(namespaces).length > 0);
  }

  async #ask(shard: number): Promise<boolean> {
    const allowances = this.#allowances(shard);
    try {
      const question = {
        shard,
        namespace: "",
        job: "",
        call: { op: "usage", allowances },
      } as const;
      const { answer } = await askShard<"usage">(this.#state, question);
      this.#state.hub.store.observe({ shard, ...answer });
      await this.#endOrphans({ shard, ...answer });
      return true;
    } catch (thrown) {
      report(thrown, `ask shard ${String(shard)} for usage`);
      return false;
    }
  }

  /** What each namespace with a quota may hold in this shard; at least a byte, as 0 is no bound. */
  #allowances(shard: number): Record<string, number> {
    const { hub, table } = this.#state;
    const bounded = table.snapshot(({ storeMaxBytes }) => storeMaxBytes > 0).namespaces;
    return Object.fromEntries(
      bounded.map(({ namespace, storeMaxBytes }) => {
        const elsewhere = hub.store.heldElsewhere(namespace, shard);
        return [namespace, Math.max(1, storeMaxBytes - elsewhere)];
      }),
    );
  }

  async #endOrphans({ shard, namespaces }: StoreReport): Promise<void> {
    const late = [...this.#ending].filter(([, shards]) => shards.has(shard));
    const found = Object.entries(namespaces).filter(([, { heldBytes }]) => heldBytes > 0);
    for (const [namespace] of [...late, ...found]) {
      if (!this.#state.table.namespace(namespace)) await this.#end(namespace, shard);
    }
  }
}

/** Of two moments with the same text nobody did anything in between. */
function operationsOf(reports: readonly StoreReport[]): string {
  return reports
    .map(({ shard, epoch, namespaces }) => {
      const counts = Object.entries(namespaces).map(([name, row]) => `${name}=${row.operations}`);
      return `${shard}@${epoch}:${counts.join()}`;
    })
    .join(" ");
}

/** A cell that is down is no bug, and told elsewhere. */
function report(thrown: unknown, attempted: string): void {
  const error = toIsolaError(thrown, attempted);
  if (error.code === "INTERNAL") reportBug(error);
}

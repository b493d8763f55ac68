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
  /** Operations as the registry was last told of them, by shard and epoch, then namespace. */
  readonly #kept = new Map<string, Map<string, number>>();
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
    const { clock, hub } = this.#state;
    const isDue = clock.now() - this.#keptAtMs >= QUIET_PERSIST_MS;
    if (isDue) this.#keptAtMs = clock.now();
    const isHeld = (name: string): boolean => hub.store.totals(name).heldBytes > 0;
    await this.keep((name) => this.#isWorked(name) || (isDue && isHeld(name)));
  }

  /** Has the registry add what it has not seen of these namespaces. Never throws. */
  async keep(which: (namespace: string) => boolean = () => true): Promise<void> {
    const names = new Set(this.#state.hub.store.namespaces().filter(which));
    if (names.size === 0) return;
    // Of a namespace all shards are told, so that what it holds adds up.
    const reports = this.#state.hub.store.reports().map(({ namespaces, ...rest }) => ({
      ...rest,
      namespaces: Object.fromEntries(
        Object.entries(namespaces).filter(([name]) => names.has(name)),
      ),
    }));
    try {
      await this.#state.note("addStoreUsage", { reports });
      for (const told of reports) this.#remember(told);
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

  /** Whether anybody did anything in a namespace since the registry was told. */
  #isWorked(namespace: string): boolean {
    return this.#state.hub.store.reports().some((told) => {
      const { operations = 0 } = told.namespaces[namespace] ?? {};
      return operations !== (this.#kept.get(epochOf(told))?.get(namespace) ?? 0);
    });
  }

  #remember(told: StoreReport): void {
    const key = epochOf(told);
    const known = this.#kept.get(key) ?? new Map<string, number>();
    for (const [name, { operations }] of Object.entries(told.namespaces)) {
      known.set(name, operations);
    }
    const former = [...this.#kept.keys()].filter((one) => one.startsWith(`${told.shard}@`));
    for (const one of former) this.#kept.delete(one);
    this.#kept.set(key, known);
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
      // What a former epoch said last is nowhere else.
      const former = this.#state.hub.store.reports().find((told) => told.shard === shard);
      if (former && former.epoch !== answer.epoch) await this.keep();
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

function epochOf({ shard, epoch }: StoreReport): string {
  return `${shard}@${epoch}`;
}

/** A cell that is down is no bug, and told elsewhere. */
function report(thrown: unknown, attempted: string): void {
  const error = toIsolaError(thrown, attempted);
  if (error.code === "INTERNAL") reportBug(error);
}

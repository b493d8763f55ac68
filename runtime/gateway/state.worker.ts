/**
 * What the gateway keeps in memory: one object for all requests of the isolate.
 *
 * N1 The routing table holds, in order, every change up to `sequence`. Answers of the registry say
 *    everything since that number, so they may be taken in as they come (registry R3); taking one
 *    in and owing it to the cells is one synchronous step.
 * N2 No promise is shared between requests without a bound: the request that would settle it may
 *    have been canceled.
 * N3 Usage leaves the hub only into a registry transaction; when that fails it goes back.
 */
import {
  CELL_CONTROL,
  HOST_CONTROL,
  IsolaError,
  PROBATION_SLOT,
  RoutingTable,
  systemClock,
  systemRandom,
  type CellInfo,
  type CellsReport,
  type Clock,
  type HostMetrics,
  type Random,
  type RoutingChange,
} from "../contract/index.ts";
import type { ChangeName, Changes, RoutingUpdate } from "../registry/index.ts";
import { type RegistryClient, createRegistryClient } from "../registry/index.worker.ts";
import { type OtlpExporter, type TelemetryHub, createTelemetryHub } from "../telemetry/index.ts";
import { askHost } from "./ask-host.worker.ts";
import { Authority } from "./authority.worker.ts";
import type { GatewayBindings } from "./bindings.worker.ts";
import { BundleStore } from "./bundle-store.worker.ts";
import { CallJobs } from "./call-jobs.ts";
import { CellPool } from "./cell-pool.ts";
import { changesToReach } from "./routing-difference.ts";
import { createSpanExport } from "./span-export.worker.ts";
import { Spreader } from "./spreader.ts";
import { sleep } from "./system-timers.worker.ts";

/** Longest that a change waits for its cells. */
const SPREAD_BOUND_MS = 2_000;
/** Longest that one delivery to a cell may take before another request repeats it. */
const DELIVERY_LEASE_MS = 2_500;
/** Age at which the routing table is compared with the registry, and usage persisted. */
const HOUSEKEEPING_MS = 3_000;
/** Attempts to deliver to a cell that is up and does not acknowledge, with pauses that grow. */
const DELIVERY_ATTEMPTS = 8;

/** Where work goes on after the answer: an execution context. */
export interface Background {
  waitUntil(work: Promise<unknown>): void;
}

/** Load of the gateway at this moment. */
export interface GatewayLoad {
  readonly inFlight: number;
  readonly queued: number;
  /** The platform is shutting down. */
  readonly isDraining: boolean;
}

export interface Applied<T> {
  readonly value: T;
  readonly registerMs: number;
  readonly spreadMs: number;
  /** Live cells that have not acknowledged in time; they are told again. */
  readonly missedSlots: readonly number[];
}

export class GatewayState {
  readonly bindings: GatewayBindings;
  /** Store jobs of calls in cells that hold no shard. */
  readonly callJobs = new CallJobs();
  readonly cells = new CellPool();
  readonly table = new RoutingTable();
  readonly clock: Clock = systemClock;
  readonly random: Random = systemRandom;
  readonly registry: RegistryClient;
  readonly authority: Authority;
  readonly hub: TelemetryHub;
  readonly bundles: BundleStore;
  readonly spreader: Spreader;
  /** Set by the hot path; what `/v1/status` and `/metrics` show. */
  load: () => GatewayLoad = () => ({ inFlight: 0, queued: 0, isDraining: false });
  /** Set where the shards are asked. */
  meterStore: () => Promise<void> = async () => undefined;
  /** As the host last reported them. */
  hostMetrics: HostMetrics = { processes: [] };
  /** Sends spans where an endpoint is set. */
  readonly exporter: OtlpExporter | undefined;
  #sequence = 0;
  #isLoaded = false;
  #housekeptAtMs = 0;
  #isSwept = false;

  constructor(bindings: GatewayBindings) {
    this.bindings = bindings;
    this.registry = createRegistryClient(bindings.registry, () => this.bundles.hasRoom());
    this.authority = new Authority(this.registry, bindings.adminToken, this.clock);
    this.hub = createTelemetryHub({ clock: this.clock, random: this.random });
    this.exporter = createSpanExport(bindings, this.hub);
    this.bundles = new BundleStore({
      blobs: bindings.blobs,
      registry: this.registry,
      clock: this.clock,
      keep: async (hash) => {
        // In the collapsed form bundles lie in an object, whose writes are durable.
        if (bindings.host) await askHost(this, HOST_CONTROL.keep, { hash }, "keep the bundle");
      },
    });
    this.spreader = new Spreader({
      send: (slot, change) => this.#send(slot, change),
      sees: (slot, namespace) => this.sees(slot, namespace),
      isLive: (slot) => this.cells.isUp(slot),
      sleep,
      clock: this.clock,
      boundMs: SPREAD_BOUND_MS,
      leaseMs: DELIVERY_LEASE_MS,
    });
  }

  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  /**
   * Resolves once the registry is checked and routing is in memory.
   *
   * @throws IsolaError `DATA_CORRUPT` naming the damaged file; the next call tries again.
   */
  async ready(): Promise<void> {
    if (this.#isLoaded) return;
    await this.bundles.checkInstallation();
    // Each waiting request loads for itself (N2); the first to finish serves all.
    const update = await this.registry.read("routingSince", { sequence: 0 });
    this.take(update);
  }

  /** Takes in what the registry says of routing, and owes it to the cells (N1). */
  take(update: RoutingUpdate): void {
    if (!this.#isLoaded && update.snapshot !== null) {
      this.table.load(update.snapshot);
      this.#isLoaded = true;
      this.#sequence = update.sequence;
      return;
    }
    if (this.#isLoaded && update.sequence <= this.#sequence) return;
    const changes = update.snapshot ? changesToReach(this.table, update.snapshot) : update.changes;
    const taken = changes.filter((change) => this.table.apply(change));
    this.#isLoaded = true;
    this.#sequence = update.sequence;
    this.spreader.enqueue(taken);
    for (const change of taken) this.#forget(change);
  }

  /** Changes the registry; answers once it is on disk and every live cell has been told. */
  async change<K extends ChangeName>(
    name: K,
    input: Parameters<Changes[K]>[0],
    background: Background,
  ): Promise<Applied<ReturnType<Changes[K]>>> {
    await this.ready();
    const startedAtMs = this.clock.now();
    const changed = await this.registry.change(name, input, this.#sequence);
    const registeredAtMs = this.clock.now();
    this.take(changed.update);
    const missedSlots = await this.spreader.deliver();
    if (missedSlots.length > 0) background.waitUntil(this.deliverLater());
    if (changed.freedBundles.length > 0) {
      background.waitUntil(this.bundles.removeUnnamed(changed.freedBundles));
    }
    return {
      value: changed.value,
      registerMs: registeredAtMs - startedAtMs,
      spreadMs: this.clock.now() - registeredAtMs,
      missedSlots,
    };
  }

  /** May the cell of a slot see a namespace? */
  sees(slot: number, namespace: string): boolean {
    if (slot === PROBATION_SLOT) return true;
    const info = this.cellInfo(slot);
    if (info === undefined) return false;
    if (info.role !== "shared") return info.namespace === namespace;
    return this.table.namespace(namespace)?.cells === "shared";
  }

  cellInfo(slot: number): CellInfo | undefined {
    return this.cells.infos().find((info) => info.slot === slot);
  }

  /** Takes in a report of the host; cells that came up are told what they missed. */
  reportCells(report: CellsReport, background: Background): void {
    this.cells.apply(report);
    if (this.spreader.isBehind) background.waitUntil(this.deliverLater());
  }

  /** Delivers what cells are owed: after a report that one came up, or a missed delivery. */
  async deliverLater(): Promise<void> {
    for (let attempt = 0; attempt < DELIVERY_ATTEMPTS; attempt++) {
      if (!this.spreader.isBehind) return;
      if (attempt > 0) await sleep(100 * 2 ** attempt);
      await this.spreader.deliver();
    }
  }

  /**
   * Called on every request; costs one comparison while nothing is due. Work of a quiet platform
   * is at most one period late: the last request's context lives that long.
   */
  housekeep(background: Background): void {
    if (this.exporter?.isDue === true) background.waitUntil(this.exporter.tick());
    const nowMs = this.clock.now();
    if (nowMs - this.#housekeptAtMs < 2 * HOUSEKEEPING_MS) return;
    this.#housekeptAtMs = nowMs;
    background.waitUntil(this.#housekeepLater());
  }

  async #housekeepLater(): Promise<void> {
    await sleep(HOUSEKEEPING_MS);
    this.#housekeptAtMs = 0;
    const work = [this.persistUsage(), this.meterStore(), this.refresh(), this.#sweepOnce()];
    await Promise.allSettled(work);
  }

  /** A change that concerns no cell. */
  async note<K extends ChangeName>(name: K, input: Parameters<Changes[K]>[0]): Promise<void> {
    this.take((await this.registry.change(name, input, this.#sequence)).update);
  }

  /** Hands usage to the registry (N3). */
  async persistUsage(): Promise<void> {
    const entries = this.hub.usage.drain();
    if (entries.length === 0) return;
    try {
      await this.note("addUsage", { entries });
    } catch {
      this.hub.usage.restore(entries);
    }
  }

  /** Compares the table with the registry, which another gateway may have changed. */
  async refresh(): Promise<void> {
    this.take(await this.registry.read("routingSince", { sequence: this.#sequence }));
    await this.deliverLater();
  }

  /** What a crash left among the bundles. */
  async #sweepOnce(): Promise<void> {
    if (this.#isSwept) return;
    this.#isSwept = true;
    await this.bundles.sweep();
  }

  async #send(slot: number, change: RoutingChange): Promise<void> {
    const response = await this.bindings.control(slot).fetch(`http://cell${CELL_CONTROL.routing}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(change),
      signal: AbortSignal.timeout(SPREAD_BOUND_MS),
    });
    await response.body?.cancel();
    if (response.ok) return;
    throw new IsolaError("CELL_LOST", {
      attempted: `tell cell ${slot} of a routing change`,
      found: `status ${response.status}`,
    });
  }

  #forget(change: RoutingChange): void {
    if (change.row === null) this.hub.forget(change.namespace);
    else for (const name of change.removed) this.hub.forget(change.namespace, name);
  }
}

let state: GatewayState | undefined;

/** The isolate's state; `bindings` count at the first call only. */
export function gatewayState(bindings: GatewayBindings): GatewayState {
  state ??= new GatewayState(bindings);
  return state;
}

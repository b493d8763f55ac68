/**
 * The one owner of the worker loader in a cell: loads versions, hands out their entry, evicts.
 *
 * L1 Code is fetched before the loader is asked: a load that failed once sticks to its id.
 * L2 The loader's id names namespace, function, version, secrets generation and load attempt; the
 *    same id always means the same code.
 * L3 Concurrent first calls share one load.
 * L4 An isolate with calls in flight is not evicted (IsolateLedger I1).
 */
import { exports } from "cloudflare:workers";
import {
  type Bundle,
  type CallEnvelope,
  IsolaError,
  SCOPE_BINDING,
  WORKFLOWS_BINDING,
  type VersionSupply,
  suspectKey,
} from "../contract/index.ts";
import type { CellBindings } from "./cell-bindings.worker.ts";
import { IsolateLedger } from "./isolate-ledger.ts";
import type { Description, IsolaEntry } from "./shim/entry.worker.ts";
import { writeCrumb } from "./stdout.worker.ts";
import type { SupplyClient } from "./supply-client.worker.ts";
import { workerCode } from "./worker-code.worker.ts";

type Entry = Fetcher<IsolaEntry>;
/** The shim's handler of calls over HTTP. */
const HTTP_ENTRY = "httpEntry";

/** Entrypoints of this Worker, as its own code addresses them. */
const entrypoints = exports as unknown as {
  Outbound(options: { props: object }): Fetcher;
  Scope(options: { props: object }): unknown;
};

/** A version in this cell, by what makes its code differ: `ns/fn@v#secrets generation`. */
type Isolate =
  | {
      readonly kind: "loading";
      readonly ready: Promise<LoadedIsolate>;
      readonly startedAtMs: number;
    }
  | LoadedIsolate
  | { readonly kind: "failed"; readonly error: IsolaError; readonly retryAtMs: number };

export interface LoadedIsolate {
  readonly kind: "loaded";
  readonly key: string;
  readonly loaderId: string;
  readonly supply: VersionSupply;
  readonly secretsGeneration: number;
  readonly loadedAtMs: number;
  /** Asked by the loader only if it lost the entry (the tenant ended its own isolate). */
  readonly code: () => Promise<WorkerLoaderWorkerCode>;
}

/** A failed load is tried again after this long; not at once, so that it cannot spin. */
const RETRY_LOAD_MS = 1_000;
/** Longer than the cell's routing may lag behind the gateway's. */
const SETTLED_MS = 3_000;
/** A load that has not settled by then died with the invocation that ran it. */
const ABANDONED_LOAD_MS = 10_000;

export interface AcquiredIsolate {
  readonly isolate: LoadedIsolate;
  readonly cold: boolean;
  readonly loadMs: number;
}

export class Isolates {
  readonly #bindings: CellBindings;
  readonly #supply: SupplyClient;
  readonly #now: () => number;
  readonly #ledger = new IsolateLedger();
  readonly #isolates = new Map<string, Isolate>();
  #loads = 0;
  #evictions = 0;

  constructor(bindings: CellBindings, supply: SupplyClient, now: () => number) {
    this.#bindings = bindings;
    this.#supply = supply;
    this.#now = now;
  }

  get stats(): { isolates: number; loads: number; evictions: number } {
    return { isolates: this.#isolates.size, loads: this.#loads, evictions: this.#evictions };
  }

  /** The isolate of a version if it is loaded: the hot path, without a promise. */
  loaded(call: CallEnvelope): LoadedIsolate | undefined {
    const isolate = this.#isolates.get(isolateKey(call));
    return isolate?.kind === "loaded" ? isolate : undefined;
  }

  /** The isolate of a version, loaded if need be. Errors: those of supply; `FUNCTION_ERROR`. */
  async acquire(call: CallEnvelope, ctx: ExecutionContext): Promise<AcquiredIsolate> {
    const key = isolateKey(call);
    const startedAtMs = this.#now();
    const known = this.#isolates.get(key);
    if (known?.kind === "loaded") return { isolate: known, cold: false, loadMs: 0 };
    if (known?.kind === "failed" && startedAtMs < known.retryAtMs) throw known.error;
    const isShared =
      known?.kind === "loading" && startedAtMs - known.startedAtMs < ABANDONED_LOAD_MS;
    const ready = isShared ? known.ready : this.#startLoad(key, call);
    // The load serves whoever comes meanwhile: it outlives the call that began it.
    if (!isShared) ctx.waitUntil(ready.catch(() => undefined));
    const isolate = await ready;
    return { isolate, cold: true, loadMs: this.#now() - startedAtMs };
  }

  /** A stub for one call: stubs do not outlive the invocation that made them. */
  entry(isolate: LoadedIsolate): Entry {
    return this.#stub(isolate).getEntrypoint("IsolaEntry") as Entry;
  }

  /** The same for a call over HTTP. */
  httpEntry(isolate: LoadedIsolate): Fetcher {
    return this.#stub(isolate).getEntrypoint(HTTP_ENTRY);
  }

  /** A stub in an isolate that no other call will ever see (`reuse: "call"`). */
  async freshEntry(isolate: LoadedIsolate): Promise<Entry> {
    return (await this.#fresh(isolate)).getEntrypoint("IsolaEntry") as Entry;
  }

  async freshHttpEntry(isolate: LoadedIsolate): Promise<Fetcher> {
    return (await this.#fresh(isolate)).getEntrypoint(HTTP_ENTRY);
  }

  async #fresh(isolate: LoadedIsolate): Promise<WorkerStub> {
    const stub = this.#bindings.loader.load(await isolate.code());
    this.#loads += 1;
    return stub;
  }

  enter(isolate: LoadedIsolate): void {
    this.#ledger.enter(isolate.key);
  }

  leave(isolate: LoadedIsolate): void {
    this.#ledger.leave(isolate.key);
  }

  /** Work of an answered call begins or ends: its isolate stays meanwhile. */
  background(call: CallEnvelope, isOpen: boolean): void {
    const key = isolateKey(call);
    if (isOpen) this.#ledger.hold(key, this.#now());
    else this.#ledger.unhold(key);
  }

  /** Drops the surplus over the cell's bound, least recently used first. */
  trim(): Promise<number> {
    return this.#evict(this.#ledger.surplus(this.#bindings.maxIsolates, this.#now()));
  }

  /** Drops up to `count` idle isolates: memory pressure. */
  shed(count: number): Promise<number> {
    return this.#evict(this.#ledger.idlest(count, this.#now()));
  }

  /**
   * Drops idle isolates that no new call would come to: collected versions, former secrets. Those
   * that are busy leave at a later sweep; so do those that were loaded a moment ago, for a version
   * that a run asked the gateway for may be ahead of the cell's own table.
   */
  sweep(isCurrent: (isolate: LoadedIsolate) => boolean): Promise<number> {
    const stale: string[] = [];
    for (const [key, isolate] of this.#isolates) {
      if (isolate.kind !== "loaded" || isCurrent(isolate)) continue;
      if (this.#now() - isolate.loadedAtMs >= SETTLED_MS) stale.push(key);
    }
    return this.#evict(stale);
  }

  #startLoad(key: string, call: CallEnvelope): Promise<LoadedIsolate> {
    const ready = this.#load(key, call);
    this.#isolates.set(key, { kind: "loading", ready, startedAtMs: this.#now() });
    ready.then(
      (isolate) => this.#isolates.set(key, isolate),
      (thrown: unknown) => {
        const error = loadError(thrown);
        this.#isolates.set(key, {
          kind: "failed",
          error,
          retryAtMs: this.#now() + RETRY_LOAD_MS,
        });
      },
    );
    return ready;
  }

  async #load(key: string, call: CallEnvelope): Promise<LoadedIsolate> {
    const { ns, fn, v } = call;
    const { supply, bundle } = await this.#supply.version(ns, fn, v);
    const code = (): Promise<WorkerLoaderWorkerCode> => this.#code(supply, call.sg);
    if (supply.config.reuse === "call") this.#supply.keep(supply.bundleHash, bundle);
    // Fetched before the loader is asked (L1); the loader gets the result, not the work.
    const first = await this.#code(supply, call.sg, bundle);
    let fetched: WorkerLoaderWorkerCode | undefined = first;
    this.#loads += 1;
    const loaderId = `${key}#${this.#loads}`;
    const isolate: LoadedIsolate = {
      kind: "loaded",
      key,
      loaderId,
      supply,
      secretsGeneration: call.sg,
      loadedAtMs: this.#now(),
      code,
    };
    const suspect = suspectKey(ns, fn, v);
    writeCrumb(this.#bindings.mark, `I ${suspect}`);
    try {
      const stub = this.#bindings.loader.get(loaderId, async () => {
        const taken = fetched ?? (await code());
        fetched = undefined;
        return taken;
      });
      const entry = stub.getEntrypoint("IsolaEntry") as Entry;
      const description: Description = await entry.describe();
      if (!description.ok) throw IsolaError.fromData(description.error);
    } finally {
      writeCrumb(this.#bindings.mark, `J ${suspect}`);
    }
    return isolate;
  }

  async #code(
    supply: VersionSupply,
    generation: number,
    known?: Bundle,
  ): Promise<WorkerLoaderWorkerCode> {
    const { namespace, name, version, config } = supply;
    const [bundle, secrets] = await Promise.all([
      known ?? this.#supply.bundle(supply.bundleHash, config.reuse === "call"),
      config.secrets.length === 0 ? {} : this.#supply.secrets(namespace, name, version, generation),
    ]);
    return workerCode({
      bundle,
      mark: this.#bindings.mark,
      compatibilityDate: config.compatibilityDate,
      compatibilityFlags: config.compatibilityFlags,
      env: {
        ...config.env,
        ...secrets,
        [SCOPE_BINDING]: scopeOf(suspectKey(namespace, name, version)),
        [WORKFLOWS_BINDING]: config.workflows,
      },
      outbound: outboundOf(namespace, name, config.egress),
    });
  }

  async #evict(keys: readonly string[]): Promise<number> {
    const aborts: Promise<void>[] = [];
    for (const key of keys) {
      const isolate = this.#isolates.get(key);
      if (isolate?.kind !== "loaded" || !this.#ledger.isIdle(key, this.#now())) continue;
      // Forgotten first: a call that comes while the isolate goes makes a new one.
      this.#isolates.delete(key);
      this.#ledger.forget(key);
      this.#evictions += 1;
      aborts.push(this.#abort(isolate));
    }
    await Promise.all(aborts);
    return aborts.length;
  }

  async #abort(isolate: LoadedIsolate): Promise<void> {
    try {
      await (this.#stub(isolate).getEntrypoint("IsolaEntry") as Entry).abort();
    } catch {
      // The isolate answers its own abort with an internal error: it is gone, as it should be.
    }
  }

  #stub(isolate: LoadedIsolate): WorkerStub {
    return this.#bindings.loader.get(isolate.loaderId, isolate.code);
  }
}

function isolateKey(call: CallEnvelope): string {
  return `${suspectKey(call.ns, call.fn, call.v)}#${call.sg}`;
}

function outboundOf(namespace: string, name: string, egress: unknown): Fetcher | null {
  if (egress === "none") return null;
  return entrypoints.Outbound({ props: { namespace, name, egress } });
}

/** Minted once per isolate: which function it may speak for stands in its props. */
function scopeOf(key: string): unknown {
  return entrypoints.Scope({ props: { key } });
}

function loadError(thrown: unknown): IsolaError {
  if (thrown instanceof IsolaError) return thrown;
  return new IsolaError("FUNCTION_ERROR", {
    attempted: "load the function",
    found: thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown),
    fix: "isola logs shows what its modules threw; deploy a corrected version",
  });
}

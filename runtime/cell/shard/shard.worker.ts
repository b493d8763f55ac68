/**
 * The shard's actor: one SQLite file, one group commit, and in it the store and the runs.
 *
 * H1 Everything opens in the constructor, in one tick: nobody meets a shard that is half open.
 *    What the opening wrote is on disk before the first answer.
 * H2 A failed commit, or an error that is none of the catalogue's, ends the actor; the next request
 *    opens it again from what is on disk (S3). Its stubs are refused from then on.
 * H3 Nothing here waits for a request: ticks, timers and moves belong to the actor.
 */
import { DurableObject } from "cloudflare:workers";
import {
  type CodeBridge,
  type DiskReport,
  type InstanceAsk,
  type InstanceReply,
  IsolaError,
  LIMITS,
  type RunAsk,
  type RunReply,
  type RunStart,
  type ShardActor,
  type SqlValue,
  type StoreOpening,
  type StoreTarget,
  systemClock,
} from "../../contract/index.ts";
import { type Budgets, Store, stepOfCall } from "../../../store/index.ts";
import { RefusingTarget, openForCall } from "../call-store-target.worker.ts";
import { currentCell } from "../cell.worker.ts";
import { RunJobs } from "../runs/run-store.ts";
import { ReturnAlarm } from "./return-alarm.ts";
import { Runs, type RunsKept } from "../runs/runs.worker.ts";
import { warn } from "../stdout.worker.ts";
import { decodeValue, encodeValue } from "../value-codec.ts";
import { BlockClient } from "./block-client.worker.ts";
import type { Blocks } from "./blocks.worker.ts";
import { coldTierOf } from "./cold-tier.worker.ts";
import { CommitLog } from "./commit-log.ts";
import { DiskGauge } from "./disk-gauge.ts";
import { storageFault } from "./storage-fault.ts";
import { type Desk, JobTarget } from "./store-target.worker.ts";
import { ActorTimers, Breath, RestTimer, afterThisTick } from "./system-timers.worker.ts";

interface ShardEnv {
  readonly BLOCKS: DurableObjectNamespace<Blocks>;
  /** Leads to the bucket of the cold tier, where one is configured. */
  readonly COLD?: Fetcher;
  readonly CELL?: { readonly budgets?: Partial<Budgets>; readonly runs?: RunsKept };
}

export class Shard extends DurableObject<ShardEnv> implements ShardActor {
  readonly #log: CommitLog;
  readonly #store: Store;
  readonly #jobs: RunJobs;
  readonly #runs: Runs;
  readonly #gauge: DiskGauge;
  /** Where actors are evicted. */
  readonly #return: ReturnAlarm | undefined;
  readonly #desk: Desk;
  /** What namespaces with a quota may hold here; the gateway, which sees all shards, says it. */
  #allowances: ReadonlyMap<string, number> = new Map();
  /** The largest the shard's file has been: it does not shrink. */
  #fileBytes = 0;

  constructor(ctx: DurableObjectState, env: ShardEnv) {
    super(ctx, env);
    const clock = systemClock;
    this.#gauge = new DiskGauge(LIMITS.diskReserveBytes);
    const wrote = (bytes: number): void => this.#wrote(bytes);
    const { storage } = ctx;
    this.#log = new CommitLog({
      run: (query, parameters) => runQuery(storage.sql, query, parameters),
      atomically: (body) => storage.transactionSync(body),
      sync: () => storage.sync(),
      later: afterThisTick,
      beforeCommit: () => {
        this.#store.plan();
        this.#return?.look();
      },
      failed: (reason) => this.#end(reason),
      wrote,
    });
    const timers = new ActorTimers(
      () => clock.now(),
      () => this.#wake(),
    );
    const shard = Number((ctx.id.name ?? "").slice("shard-".length));
    const cold = coldTierOf(env.COLD, shard);
    this.#store = new Store(
      {
        sql: this.#log,
        log: this.#log,
        clock,
        timers,
        blocks: new BlockClient(() => this.#blocks(), wrote),
        codec: { encode: encoded, decode: decodeValue },
        ...(cold ? { cold } : {}),
      },
      {
        ...env.CELL?.budgets,
        namespaceBytes: (namespace) => this.#quotaOf(namespace),
      },
    );
    currentCell()?.live.abandon(shard, clock.now());
    this.#jobs = new RunJobs(this.#store);
    const fail = (reason: unknown): void => this.#log.fail(reason);
    this.#runs = new Runs(this.#log, this.#jobs, fail, env.CELL?.runs);
    // A host pins its actors and says what a cell is; elsewhere the runtime evicts them.
    this.#return = env.CELL ? undefined : this.#makeReturn();
    this.#desk = this.#makeDesk();
    this.ctx.waitUntil(this.#store.swept);
  }

  /** Resolves when the shard's opening is on disk, and its blocks can be read. */
  async ready(): Promise<void> {
    await this.#opened();
    await this.#blocks().space();
  }

  async openStore(opening: StoreOpening): Promise<StoreTarget> {
    const { create, namespace, job, attempt } = opening;
    await this.#desk.breath();
    try {
      await this.#opened();
      return openForCall(opening, () => {
        // After a look at the call, in the same turn: nobody would end a job that is made later.
        if (create) this.#store.createJob({ ...create, id: job, namespace });
        if (!attempt) return new JobTarget(this.#desk, { namespace, job });
        const session = this.#jobs.session({ id: job, namespace }, attempt);
        const step = stepOfCall(attempt.step, attempt.call);
        return new JobTarget(this.#desk, { namespace, job }, { session, step });
      });
    } catch (thrown) {
      return new RefusingTarget(this.#desk.refusal(thrown, "open a store job"));
    }
  }

  async startRun(start: RunStart, input: unknown): Promise<RunReply> {
    try {
      await this.#opened();
      if (this.#gauge.freeBytes === 0) throw noSpace(start.id);
      return { ok: true, value: await this.#runs.start(start, input) };
    } catch (thrown) {
      return { ok: false, error: this.#desk.refusal(thrown, "start a run").toData() };
    }
  }

  async findRun(id: string, waitMs: number): Promise<RunReply> {
    try {
      await this.#opened();
      return { ok: true, value: await this.#runs.find(id, waitMs) };
    } catch (thrown) {
      return { ok: false, error: this.#desk.refusal(thrown, "read a run").toData() };
    }
  }

  async askRuns(namespace: string, asked: RunAsk): ReturnType<ShardActor["askRuns"]> {
    try {
      await this.#opened();
      return { ok: true, value: await this.#runs.ask(namespace, asked) };
    } catch (thrown) {
      return { ok: false, error: this.#desk.refusal(thrown, "operate runs").toData() };
    }
  }

  async openCode(callId: string): Promise<CodeBridge> {
    await this.#opened();
    return this.#runs.code.open(callId);
  }

  async instance(ask: InstanceAsk, value: unknown): Promise<InstanceReply> {
    try {
      await this.#opened();
      if (ask.call.op === "create" && this.#gauge.freeBytes === 0) throw noSpace(ask.run);
      return { ok: true, value: await this.#runs.instance(ask, value) };
    } catch (thrown) {
      return { ok: false, error: this.#desk.refusal(thrown, "use an instance").toData() };
    }
  }

  /** Told by the host, every second or so. */
  async disk({ freeBytes }: DiskReport): Promise<void> {
    const space = await this.#blocks().space();
    const usedBytes = this.ctx.storage.sql.databaseSize;
    this.#fileBytes = Math.max(this.#fileBytes, usedBytes);
    this.#gauge.tell(freeBytes, space.freeBytes + this.#fileBytes - usedBytes);
    this.#store.diskFreeBytes = this.#gauge.freeBytes;
  }

  /** Nobody else asks: the runs go on, or were made anew when the actor opened. */
  override async alarm(): Promise<void> {
    await this.#opened();
    this.#return?.fired();
    await this.#log.committed(this.#log.position);
  }

  /** H1: of both components. */
  #opened(): Promise<void> {
    const position = Math.max(this.#store.openedPosition, this.#runs.openedPosition);
    return this.#log.committed(position);
  }

  #blocks(): DurableObjectStub<Blocks> {
    const { BLOCKS } = this.env;
    return BLOCKS.get(BLOCKS.idFromName(this.ctx.id.name ?? ""));
  }

  /** Until the gateway has said more, the whole quota of the namespace; 0: none. */
  #quotaOf(namespace: string): number {
    const allowed = this.#allowances.get(namespace);
    return allowed ?? currentCell()?.table.namespace(namespace)?.storeMaxBytes ?? 0;
  }

  #makeReturn(): ReturnAlarm {
    return new ReturnAlarm({
      now: () => systemClock.now(),
      isBusy: () => this.#runs.isBusy,
      dueAtMs: () => this.#runs.dueAtMs,
      set: (atMs) => {
        this.ctx.storage.setAlarm(atMs).catch((reason: unknown) => this.#log.fail(reason));
      },
    });
  }

  #makeDesk(): Desk {
    const [store, log, runs] = [this.#store, this.#log, this.#runs];
    const breath = new Breath(() => systemClock.now());
    const rest = this.env.CELL ? undefined : new RestTimer(() => void this.#writeBack());
    return {
      store,
      get durable() {
        return log.durable;
      },
      committed: (position) => log.committed(position),
      plan: () => {
        rest?.touch();
        store.plan();
      },
      breath: () => breath.take(),
      refusal: (thrown, attempted) => {
        if (thrown instanceof IsolaError) return thrown;
        log.fail(thrown);
        return storageFault(thrown, attempted);
      },
      endRuns: (namespace) => runs.endNamespace(namespace),
      allow: (allowances) => {
        this.#allowances = new Map(Object.entries(allowances));
      },
    };
  }

  #wrote(bytes: number): void {
    this.#gauge.spend(bytes);
    // The opening itself writes before there is a store.
    const store = this.#store as Store | undefined;
    if (store) store.diskFreeBytes = this.#gauge.freeBytes;
  }

  /** Before the actor is evicted: what memory alone holds would be gone. */
  async #writeBack(): Promise<void> {
    try {
      await this.#store.writeBack();
      await this.#log.committed(this.#log.position);
    } catch (thrown) {
      this.#log.fail(thrown);
    }
  }

  #wake(): void {
    try {
      this.#store.wake();
    } catch (thrown) {
      this.#log.fail(thrown);
    }
  }

  /** H2; in a turn of its own, so that who waits for a commit is told first. */
  #end(reason: unknown): void {
    const text = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason);
    warn(`shard ${this.ctx.id.name ?? ""} ends and opens again: ${text}`);
    afterThisTick(() => this.ctx.abort(storageFault(reason, "use the store").message));
  }
}

function noSpace(id: string): IsolaError {
  return new IsolaError("DISK_FULL", {
    attempted: `start the run ${id}`,
    found: "no space beyond the reserve",
    retryAfterSeconds: 1,
  });
}

/** What cannot be encoded is refused; it ends nobody's actor. */
function encoded(value: unknown): Uint8Array {
  try {
    return encodeValue(value);
  } catch (thrown) {
    throw new IsolaError("VALUE_INVALID", {
      attempted: "write a value to disk",
      found: `one that cannot be encoded: ${String(thrown).slice(0, 200)}`,
    });
  }
}

function runQuery(
  sql: SqlStorage,
  query: string,
  parameters: readonly SqlValue[],
): Record<string, unknown>[] {
  const rows = sql.exec<Record<string, SqlStorageValue>>(query, ...parameters).toArray();
  for (const row of rows) {
    for (const [name, value] of Object.entries(row)) {
      if (value instanceof ArrayBuffer)
        (row as Record<string, unknown>)[name] = new Uint8Array(value);
    }
  }
  return rows;
}

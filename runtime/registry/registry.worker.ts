/**
 * The registry actor: one object, one SQLite file, everything that is deployed.
 *
 * A change answers after its commit is on disk. When a commit fails, workerd replaces the actor:
 * its caller sees the failure, the next call a registry without the change.
 *
 * The actor's alarm is set to the next tick of a schedule, also while nobody asks anything. The
 * Worker's entrypoint `Schedules` begins what is due.
 */
import { DurableObject, exports } from "cloudflare:workers";
import {
  type ErrorData,
  IsolaError,
  systemClock,
  systemRandom,
  toIsolaError,
} from "../contract/index.ts";
import { registryFile } from "./client.worker.ts";
import { storageError } from "./damage.ts";
import type {
  ChangeName,
  Changed,
  Changes,
  EndedTick,
  ReadName,
  Reads,
  Tagged,
  Tick,
} from "./operations.ts";
import { RegistryCore } from "./registry-core.ts";
import type { Sql, SqlRow } from "./sql.ts";

/** Of the Worker that the registry is in: begins what is due, and says what it could. */
interface TickStarter {
  begin(ticks: readonly Tick[]): Promise<readonly EndedTick[]>;
}

const loopback = exports as unknown as { readonly Schedules: TickStarter };

/** Ticks that begin at once. */
const TICKS_AT_ONCE = 100;
/** Until what did not begin is tried again. */
const AGAIN_MS = 1_000;

export class Registry extends DurableObject {
  readonly #core: RegistryCore | undefined;
  readonly #damage: ErrorData | undefined;
  readonly #file: string;
  /** As it was set last in this life; undefined: by a former one, or not at all. */
  #alarmAtMs: number | null | undefined;

  constructor(context: DurableObjectState, env: unknown) {
    super(context, env as never);
    this.#file = registryFile(context.id);
    const sql = storageSql(context.storage);
    try {
      const clock = systemClock;
      this.#core = new RegistryCore({ sql, clock, random: systemRandom, file: this.#file });
    } catch (thrown) {
      this.#damage = toIsolaError(thrown, "open the registry").toData();
    }
  }

  async read<K extends ReadName>(
    name: K,
    input: Parameters<Reads[K]>[0],
  ): Promise<Tagged<ReturnType<Reads[K]>>> {
    return this.#tagged(`read ${name}`, (core) => core.read(name, input));
  }

  async change<K extends ChangeName>(
    name: K,
    input: Parameters<Changes[K]>[0],
    since: number,
  ): Promise<Tagged<Changed<ReturnType<Changes[K]>>>> {
    return this.#tagged(`store ${name}`, async (core) => {
      const changed = core.change(name, input, since);
      const nextAtMs = core.read("nextTick", null);
      if (nextAtMs !== this.#alarmAtMs) await this.#arm(nextAtMs);
      await this.ctx.storage.sync();
      return changed;
    });
  }

  /** Ticks are due. What does not begin now, and what comes meanwhile, is seen to by the next. */
  override async alarm(): Promise<void> {
    const core = this.#core;
    if (!core) return;
    this.#alarmAtMs = null;
    let isStuck = true;
    try {
      const due = core.read("dueTicks", { limit: TICKS_AT_ONCE });
      const ticks = due.length === 0 ? [] : await loopback.Schedules.begin(due);
      if (ticks.length > 0) core.change("endTicks", { ticks }, 0);
      isStuck = ticks.length < due.length;
    } catch {
      // A full disk, or an end of the process: what is due is told again (schedules T2).
    } finally {
      const nextAtMs = core.read("nextTick", null);
      const soonMs = systemClock.now() + AGAIN_MS;
      await this.#arm(isStuck && nextAtMs !== null ? Math.max(nextAtMs, soonMs) : nextAtMs);
    }
  }

  async #arm(atMs: number | null): Promise<void> {
    this.#alarmAtMs = atMs;
    if (atMs === null) await this.ctx.storage.deleteAlarm();
    else await this.ctx.storage.setAlarm(atMs);
  }

  async #tagged<T>(
    attempted: string,
    body: (core: RegistryCore) => T | Promise<T>,
  ): Promise<Tagged<T>> {
    if (!this.#core) return { ok: false, error: this.#damage ?? noCore() };
    try {
      return { ok: true, value: await body(this.#core) };
    } catch (thrown) {
      return { ok: false, error: storageError(thrown, attempted, this.#file).toData() };
    }
  }
}

function noCore(): ErrorData {
  return new IsolaError("INTERNAL", { attempted: "ask the registry", found: "none" }).toData();
}

function storageSql(storage: DurableObjectStorage): Sql {
  return {
    run: (query, bindings) => storage.sql.exec<SqlRow>(query, ...bindings).toArray(),
    transaction: (body) => storage.transactionSync(body),
  };
}

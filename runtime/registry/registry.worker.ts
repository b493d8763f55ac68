/**
 * The registry actor: one object, one SQLite file, everything that is deployed.
 *
 * A change answers after its commit is on disk. When a commit fails, workerd replaces the actor:
 * its caller sees the failure, the next call a registry without the change.
 */
import { DurableObject } from "cloudflare:workers";
import {
  type ErrorData,
  IsolaError,
  systemClock,
  systemRandom,
  toIsolaError,
} from "../contract/index.ts";
import { registryFile } from "./client.worker.ts";
import { storageError } from "./damage.ts";
import type { ChangeName, Changed, Changes, ReadName, Reads, Tagged } from "./operations.ts";
import { RegistryCore } from "./registry-core.ts";
import type { Sql, SqlRow } from "./sql.ts";

export class Registry extends DurableObject {
  readonly #core: RegistryCore | undefined;
  readonly #damage: ErrorData | undefined;
  readonly #file: string;

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
      await this.ctx.storage.sync();
      return changed;
    });
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

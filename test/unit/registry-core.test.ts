import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  IsolaError,
  LIMITS,
  RoutingTable,
  resolveConfig,
  systemClock,
  systemRandom,
  unreachable,
  type FunctionConfig,
} from "../../runtime/contract/index.ts";
import { RegistryCore, storageError } from "../../runtime/registry/internal.ts";
import { memorySql } from "../support/sqlite.ts";

const FILE = "isola-registry-v1/test.sqlite";

function newCore(sql = memorySql()): RegistryCore {
  return new RegistryCore({ sql, clock: systemClock, random: systemRandom, file: FILE });
}

interface Deploy {
  readonly namespace?: string;
  readonly name?: string;
  readonly content?: string;
  readonly percent?: number;
  readonly dryRun?: boolean;
  readonly oldestRunMs?: number;
  readonly config?: FunctionConfig;
}

function deploy(core: RegistryCore, options: Deploy = {}) {
  const { namespace = "default", name = "f", content = "a", percent = 100 } = options;
  const input = {
    namespace,
    name,
    bundleHash: `bundle-${content}`,
    bundleBytes: 10,
    contentHash: `${content}${JSON.stringify(options.config ?? {})}`,
    form: "data",
    entrypoints: [],
    config: resolveConfig(options.config),
    percent,
    dryRun: options.dryRun ?? false,
    oldestRunMs: options.oldestRunMs === undefined ? null : options.oldestRunMs,
  } as const;
  return core.change("deploy", input, 0);
}

/** What `body` throws, if it throws an error of the catalogue. */
function errorOf(body: () => unknown): IsolaError | undefined {
  try {
    body();
    return undefined;
  } catch (error) {
    if (error instanceof IsolaError) return error;
    throw error;
  }
}

function codeOf(body: () => unknown): string | undefined {
  return errorOf(body)?.code;
}

function putSecret(core: RegistryCore, secret: string) {
  const input = { namespace: "default", name: secret, sealed: "sealed", bytes: 6 };
  return core.change("putSecret", input, 0).value;
}

describe("a registry", () => {
  it("begins with the default namespace, once", () => {
    const sql = memorySql();
    const first = newCore(sql);
    const again = newCore(sql);
    for (const core of [first, again]) {
      expect(core.read("namespaces", null)).toMatchObject([{ namespace: "default" }]);
    }
    expect(again.read("installation", null)).toEqual(first.read("installation", null));
  });

  it("refuses a file of which tables are missing, and names it", () => {
    for (const table of ["versions", "settings", "tokens"]) {
      const sql = memorySql();
      newCore(sql);
      sql.run(`DROP TABLE ${table}`, []);
      const error = errorOf(() => newCore(sql));
      expect(error?.code).toBe("DATA_CORRUPT");
      expect(error?.message).toContain(FILE);
    }
  });

  it("refuses rows that are no JSON, and names the file", () => {
    const sql = memorySql();
    const core = newCore(sql);
    deploy(core);
    sql.run("UPDATE versions SET config = ?", ["{cut"]);
    const error = errorOf(() => core.read("routingSince", { sequence: 0 }));
    expect(error?.code).toBe("DATA_CORRUPT");
    expect(error?.message).toContain(FILE);
  });

  it("refuses a file of a later release", () => {
    const sql = memorySql();
    newCore(sql);
    sql.run("UPDATE settings SET value = '99' WHERE name = 'schema'", []);
    expect(codeOf(() => newCore(sql))).toBe("DATA_VERSION");
  });

  it("stores nothing of a change that fails", () => {
    const sql = memorySql();
    const core = newCore(sql);
    const before = JSON.stringify(core.read("routingSince", { sequence: 0 }));
    const config = { secrets: ["MISSING"] };
    expect(codeOf(() => deploy(core, { config }))).toBe("CONFIG_INVALID");
    expect(JSON.stringify(core.read("routingSince", { sequence: 0 }))).toBe(before);
    expect(core.read("functions", { namespace: "default" })).toEqual([]);
  });
});

describe("failures of storage", () => {
  it("are told apart: a full disk, a damaged file, a defect of ours", () => {
    const codes = [
      "database or disk is full: SQLITE_FULL",
      "No space left on device (os error 28)",
      "database disk image is malformed: SQLITE_CORRUPT",
      "file is not a database: SQLITE_NOTADB",
      "no such table: versions: SQLITE_ERROR",
      "something else",
    ].map((message) => storageError(new TypeError(message), "try", FILE).code);
    const [full, damaged] = ["DISK_FULL", "DATA_CORRUPT"];
    expect(codes).toEqual([full, full, damaged, damaged, damaged, "INTERNAL"]);
  });
});

describe("secrets and routing", () => {
  it("raise the generation of exactly the versions that name them", () => {
    const core = newCore();
    putSecret(core, "A");
    putSecret(core, "B");
    deploy(core, { name: "a", config: { secrets: ["A"] } });
    deploy(core, { name: "both", config: { secrets: ["A", "B"] } });
    deploy(core, { name: "none" });
    const generations = () =>
      Object.fromEntries(
        (core.read("routingSince", { sequence: 0 }).snapshot?.routes ?? []).map((route) => [
          route.name,
          route.targets[0]?.secretsGeneration,
        ]),
      );
    expect(generations()).toEqual({ a: 1, both: 2, none: 0 });
    const { update } = core.change(
      "putSecret",
      { namespace: "default", name: "B", sealed: "new", bytes: 3 },
      core.read("routingSince", { sequence: 0 }).sequence,
    );
    expect(generations()).toEqual({ a: 1, both: 3, none: 0 });
    expect(update.changes.at(-1)?.routes.map((route) => route.name)).toEqual(["both"]);
  });

  it("stay while a live version names them, and never repeat a generation", () => {
    const core = newCore();
    putSecret(core, "A");
    deploy(core, { config: { secrets: ["A"] } });
    const key = { namespace: "default", name: "A" };
    expect(codeOf(() => core.change("removeSecret", key, 0))).toBe("CONFLICT");
    deploy(core, { content: "b" });
    core.change("removeSecret", key, 0);
    expect(putSecret(core, "A").generation).toBe(2);
  });

  it("and plain environment share one bound and no names", () => {
    const core = newCore();
    putSecret(core, "A");
    const config = { env: { A: "x" }, secrets: ["A"] };
    expect(codeOf(() => deploy(core, { config }))).toBe("CONFIG_INVALID");
  });
});

describe("versions", () => {
  it("are collected beyond those kept; theirs bundles only when nobody names them", () => {
    const core = newCore();
    deploy(core, { name: "other", content: "0" });
    const freed: string[] = [];
    for (let index = 0; index < LIMITS.idleVersionsKept + 4; index++) {
      freed.push(...deploy(core, { content: String(index) }).freedBundles);
    }
    expect(freed).toEqual(["bundle-1", "bundle-2"]);
  });

  it("that an open run may be pinned to are kept, and all while nobody knows of runs", () => {
    const core = newCore();
    const many = (oldestRunMs: number): number => {
      for (let index = 0; index < LIMITS.idleVersionsKept + 4; index++) {
        deploy(core, { content: `${String(oldestRunMs)}-${String(index)}`, oldestRunMs });
      }
      return core.read("versions", { namespace: "default", name: "f" }).length;
    };
    const count = LIMITS.idleVersionsKept + 4;
    expect(many(1)).toBe(count);
    const muchLaterMs = Number.MAX_SAFE_INTEGER;
    expect(many(muchLaterMs)).toBe(LIMITS.idleVersionsKept + 1);
  });

  it("never change their number: removal and return count on", () => {
    const core = newCore();
    deploy(core, { content: "a" });
    core.change("removeFunction", { namespace: "default", name: "f" }, 0);
    expect(deploy(core, { content: "a" }).value.version).toBe(2);
  });

  it("in quarantine neither come back by deploying them nor by going back", () => {
    const core = newCore();
    const key = { namespace: "default", name: "f" };
    deploy(core, { content: "a" });
    deploy(core, { content: "b" });
    deploy(core, { content: "c" });
    core.change("quarantine", { ...key, version: 2 }, 0);
    expect(codeOf(() => deploy(core, { content: "b" }))).toBe("CONFLICT");
    expect(core.change("setTraffic", { ...key, percent: 100 }, 0).value.version).toBe(1);
    expect(core.change("release", key, 0).value).toEqual({ released: [2] });
    expect(deploy(core, { content: "b" }).value).toMatchObject({ version: 2, created: false });
  });

  it("are not registered by a dry run, which says what would be", () => {
    const core = newCore();
    expect(deploy(core, { dryRun: true }).value).toEqual({
      version: 1,
      created: false,
      traffic: [{ version: 1, percent: 100 }],
    });
    expect(core.read("functions", { namespace: "default" })).toEqual([]);
  });
});

type Step =
  | { readonly do: "deploy"; name: string; content: string; percent: number }
  | { readonly do: "traffic"; name: string; version: number; percent: number }
  | { readonly do: "back" | "remove" | "release"; name: string }
  | { readonly do: "quarantine"; name: string; version: number }
  | { readonly do: "namespace" | "drop"; namespace: string };

const name = fc.constantFrom("f", "g", "h");
const version = fc.integer({ min: 1, max: 6 });
const percent = fc.constantFrom(0, 10, 50, 99, 100);
const namespace = fc.constantFrom("one", "two");
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("deploy" as const),
    name,
    content: fc.constantFrom("a", "b", "c"),
    percent,
  }),
  fc.record({ do: fc.constant("traffic" as const), name, version, percent }),
  fc.record({ do: fc.constantFrom("back" as const, "remove" as const, "release" as const), name }),
  fc.record({ do: fc.constant("quarantine" as const), name, version }),
  fc.record({ do: fc.constantFrom("namespace" as const, "drop" as const), namespace }),
);

function perform(core: RegistryCore, one: Step, since: number): unknown {
  const key = { namespace: "default", name: "name" in one ? one.name : "" };
  switch (one.do) {
    case "deploy": {
      const { content, percent: share } = one;
      return deploy(core, { name: one.name, content, percent: share });
    }
    case "traffic":
      return core.change(
        "setTraffic",
        { ...key, version: one.version, percent: one.percent },
        since,
      );
    case "back":
      return core.change("setTraffic", { ...key, percent: 100 }, since);
    case "remove":
      return core.change("removeFunction", key, since);
    case "release":
      return core.change("release", key, since);
    case "quarantine":
      return core.change("quarantine", { ...key, version: one.version }, since);
    case "namespace":
      return core.change(
        "createNamespace",
        { namespace: one.namespace, cells: "shared", quotas: {} },
        since,
      );
    case "drop":
      return core.change("removeNamespace", { namespace: one.namespace, force: true }, since);
    default:
      return unreachable(one, "every step is done");
  }
}

describe("routing changes", () => {
  it("bring a table to the registry's own state, also when some answers are lost", () => {
    const steps = fc.array(fc.tuple(step, fc.boolean()), { maxLength: 60, size: "max" });
    fc.assert(
      fc.property(steps, (list) => {
        const core = newCore();
        const table = new RoutingTable();
        const start = core.read("routingSince", { sequence: 0 });
        if (start.snapshot) table.load(start.snapshot);
        let { sequence } = start;
        for (const [one, isLost] of list) {
          expect(codeOf(() => perform(core, one, sequence))).not.toBe("INTERNAL");
          if (isLost) continue;
          const update = core.read("routingSince", { sequence });
          for (const change of update.changes) table.apply(change);
          if (update.snapshot) table.load(update.snapshot);
          ({ sequence } = update);
        }
        const rest = core.read("routingSince", { sequence });
        for (const change of rest.changes) table.apply(change);
        const wanted = newestSnapshot(core);
        expect(sorted(table.snapshot())).toEqual(sorted(wanted));
        for (const route of wanted.routes) {
          expect(route.targets.reduce((sum, target) => sum + target.weight, 0)).toBe(100);
        }
      }),
      { numRuns: 150 },
    );
  });
});

function newestSnapshot(core: RegistryCore) {
  const { snapshot } = core.read("routingSince", { sequence: -1 });
  if (!snapshot) throw new Error("a negative sequence is answered with everything");
  return snapshot;
}

function sorted(snapshot: { namespaces: readonly object[]; routes: readonly object[] }) {
  return [byText(snapshot.namespaces), byText(snapshot.routes)];
}

function byText(list: readonly object[]): string[] {
  return list.map((item) => JSON.stringify(item)).sort();
}

/** Schedules: what is one, when it ticks as clocks change, how the registry keeps it. */
import { describe, expect, it } from "vitest";
import {
  type FunctionConfig,
  IsolaError,
  type Schedule,
  nextTickMs,
  resolveConfig,
  systemRandom,
} from "../../runtime/contract/index.ts";
import { RegistryCore } from "../../runtime/registry/internal.ts";
import { memorySql } from "../support/sqlite.ts";

/** The first ticks after a time. */
function ticks(schedule: string, timeZone: string, from: string, count: number): string[] {
  const found: string[] = [];
  let atMs = Date.parse(from);
  for (let left = count; left > 0; left -= 1) {
    const nextMs = nextTickMs({ schedule, timeZone }, atMs);
    if (nextMs === undefined) break;
    atMs = nextMs;
    found.push(new Date(atMs).toISOString().slice(0, 16));
  }
  return found;
}

function refusal(cron: unknown): string {
  try {
    resolveConfig({ cron });
    return "";
  } catch (thrown) {
    return thrown instanceof IsolaError ? `${thrown.code} ${thrown.parts.required ?? ""}` : "";
  }
}

describe("a schedule", () => {
  it("runs after the gap where clocks go forward, and once where they go back", () => {
    const daily = ["30 2 * * *", "Europe/Berlin"] as const;
    const spring = ticks(...daily, "2026-03-28T12:00Z", 2);
    expect(spring).toStrictEqual(["2026-03-29T01:00", "2026-03-30T00:30"]);
    const autumn = ticks(...daily, "2026-10-24T12:00Z", 2);
    expect(autumn).toStrictEqual(["2026-10-25T00:30", "2026-10-26T01:30"]);
  });

  it("goes on at its intervals through both", () => {
    const hourly = ["0 * * * *", "America/New_York"] as const;
    expect(ticks(...hourly, "2026-11-01T04:30Z", 3)).toStrictEqual([
      "2026-11-01T05:00",
      "2026-11-01T06:00",
      "2026-11-01T07:00",
    ]);
    expect(ticks(...hourly, "2026-03-08T06:30Z", 2)).toStrictEqual([
      "2026-03-08T07:00",
      "2026-03-08T08:00",
    ]);
  });

  it("may have seconds, names and the last day of a month", () => {
    const at = nextTickMs({ schedule: "*/2 * * * * *", timeZone: "UTC" }, 1_500);
    expect(at).toBe(2_000);
    expect(ticks("0 0 L * *", "UTC", "2028-02-01T00:00Z", 1)).toStrictEqual(["2028-02-29T00:00"]);
    expect(ticks("@daily", "Asia/Tokyo", "2026-01-01T00:00Z", 1)).toStrictEqual([
      "2026-01-01T15:00",
    ]);
  });

  it("is refused where it is none, with what is wrong", () => {
    expect(refusal(["61 * * * *"])).toMatch(/^CONFIG_INVALID .*minute: 61/);
    expect(refusal(["* * * *"])).toContain("five or six fields");
    expect(refusal(["2027-01-01T00:00:00Z"])).toContain("five or six fields");
    expect(refusal(["0 0 30 2 *"])).toContain("comes round");
    expect(refusal([{ schedule: "0 0 * * *", timeZone: "Mars/Olympus" }])).toContain("IANA");
    expect(refusal([{ timeZone: "UTC" }])).toContain("to have a schedule");
    expect(refusal([{ schedule: "0 0 * * *", zone: "UTC" }])).toContain("no field");
    expect(refusal("0 0 * * *")).toContain("a list");
    expect(refusal([7])).toContain("a list");
    expect(refusal(Array.from({ length: 101 }, () => "0 0 * * *"))).toContain("at most 100");
  });

  it("is in UTC unless something else is said, and is there once", () => {
    const config = { cron: ["0 6 * * *", { schedule: " 0 6 * * * " }, "0 7 * * *"] };
    expect(resolveConfig(config).cron).toStrictEqual([
      { schedule: "0 6 * * *", timeZone: "UTC" },
      { schedule: "0 7 * * *", timeZone: "UTC" },
    ]);
  });
});

const EVERY: Schedule = { schedule: "*/10 * * * *", timeZone: "UTC" };
const NIGHTLY: Schedule = { schedule: "0 3 * * *", timeZone: "UTC" };
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

class Kept {
  nowMs = Date.parse("2026-01-01T00:05Z");
  readonly sql = memorySql();
  core = this.open();

  open(): RegistryCore {
    const clock = { now: () => this.nowMs };
    return new RegistryCore({ sql: this.sql, clock, random: systemRandom, file: "test" });
  }

  deploy(content: string, cron: FunctionConfig["cron"], percent = 100): void {
    const config = resolveConfig({ cron });
    const key = { namespace: "default", name: "f", form: "data", entrypoints: [] } as const;
    const bundle = { bundleHash: content, bundleBytes: 1, contentHash: content };
    this.core.change("deploy", { ...key, ...bundle, config, percent, dryRun: false }, 0);
  }

  due() {
    return this.core.read("dueTicks", { limit: 10 });
  }

  /** Ends what is due, as begun. */
  tick(): string[] {
    const due = this.due();
    const ended = due.map((tick) => ({ ...tick, run: "0-a", error: null }));
    this.core.change("endTicks", { ticks: ended }, 0);
    return due.map(({ schedule, atMs }) => `${schedule} ${new Date(atMs).toISOString()}`);
  }

  get next(): string | undefined {
    const nextMs = this.core.read("nextTick", null);
    return nextMs === null ? undefined : new Date(nextMs).toISOString().slice(11, 16);
  }
}

describe("the registry", () => {
  it("tells a tick under one name until it is ended, then goes on to the next", () => {
    const kept = new Kept();
    kept.deploy("a", [EVERY]);
    expect([kept.next, kept.due()]).toStrictEqual(["00:10", []]);
    kept.nowMs += 5 * MINUTE_MS + 400;
    const [first] = kept.due();
    expect(first).toMatchObject({ name: "f", ...EVERY, atMs: Date.parse("2026-01-01T00:10Z") });
    kept.core = kept.open();
    expect(kept.due()).toStrictEqual([first]);
    expect(kept.tick()).toHaveLength(1);
    expect([kept.next, kept.due()]).toStrictEqual(["00:20", []]);
    const [line] = kept.core.read("schedules", { namespace: "default" });
    expect(line).toMatchObject({ function: "f", lastRun: "0-a", lastAtMs: first?.atMs });
  });

  it("makes one of the ticks that nobody could see to", () => {
    const kept = new Kept();
    kept.deploy("a", [EVERY]);
    kept.nowMs += 7 * HOUR_MS;
    kept.core = kept.open();
    expect(kept.tick()).toStrictEqual(["*/10 * * * * 2026-01-01T00:10:00.000Z"]);
    expect([kept.next, kept.tick()]).toStrictEqual(["07:10", []]);
  });

  it("does not count a tick twice that is ended twice", () => {
    const kept = new Kept();
    kept.deploy("a", [EVERY]);
    kept.nowMs += 10 * MINUTE_MS;
    const due = kept.due().map((tick) => ({ ...tick, run: "0-a", error: null }));
    kept.core.change("endTicks", { ticks: due }, 0);
    kept.nowMs += 10 * MINUTE_MS;
    const late = due.map((tick) => ({ ...tick, run: "0-b" }));
    kept.core.change("endTicks", { ticks: late }, 0);
    expect(kept.due()).toHaveLength(1);
    expect(kept.core.read("schedules", { namespace: "default" })[0]?.lastRun).toBe("0-a");
  });

  it("has the schedules of the version with most traffic; what stays keeps its next tick", () => {
    const kept = new Kept();
    const names = (): string[] =>
      kept.core.read("schedules", { namespace: "default" }).map(({ schedule }) => schedule);
    kept.deploy("a", [EVERY]);
    kept.nowMs += 10 * MINUTE_MS;
    kept.deploy("b", [NIGHTLY], 20);
    expect(names()).toStrictEqual([EVERY.schedule]);
    expect(kept.due()).toHaveLength(1);
    kept.deploy("c", [EVERY, NIGHTLY]);
    expect(names()).toStrictEqual([EVERY.schedule, NIGHTLY.schedule].toSorted());
    expect(kept.tick()).toHaveLength(1);
    kept.deploy("d", []);
    expect([names(), kept.next]).toStrictEqual([[], undefined]);
    kept.core.change("setTraffic", { namespace: "default", name: "f", percent: 100 }, 0);
    expect(names()).toHaveLength(2);
  });

  it("forgets the schedules of what is removed, and of a namespace that is", () => {
    const kept = new Kept();
    kept.deploy("a", [EVERY]);
    kept.core.change("removeFunction", { namespace: "default", name: "f" }, 0);
    expect(kept.next).toBeUndefined();
    const other = { namespace: "other", cells: "shared", quotas: {} } as const;
    kept.core.change("createNamespace", other, 0);
    const config = resolveConfig({ cron: [EVERY] });
    const key = { namespace: "other", name: "f", form: "data", entrypoints: [] } as const;
    const bundle = { bundleHash: "b", bundleBytes: 1, contentHash: "b" };
    kept.core.change("deploy", { ...key, ...bundle, config, percent: 100, dryRun: false }, 0);
    expect(kept.next).toBe("00:10");
    kept.core.change("removeNamespace", { namespace: "other", force: true }, 0);
    expect(kept.next).toBeUndefined();
  });
});

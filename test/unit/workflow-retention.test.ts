/** How long ended runs of workflows with bounds of their own are kept. */
import { describe, expect, it } from "vitest";
import { flow } from "../../workflow/builder/index.ts";
import { CoordinatorWorld } from "../support/coordinator-world.ts";

const DAY_MS = 24 * 60 * 60 * 1_000;
const HOUR_MS = 60 * 60 * 1_000;
const FLOWS = {
  brief: flow((dag) => dag.node("a").modify((value) => value)),
  other: flow((dag) => dag.node("a").modify((value) => value)),
};

interface Own {
  readonly ageMs?: number;
  readonly runs?: number;
}

class Kept {
  readonly world = new CoordinatorWorld({ flows: FLOWS });
  #count = 0;

  /** A run that has ended. */
  async run(workflow: string, { ageMs = 0, runs = 0 }: Own, key?: string): Promise<string> {
    this.#count += 1;
    const id = `0-${String(this.#count)}`;
    this.world.coordinator.start({
      id,
      namespace: "default",
      workflow,
      form: "dag",
      input: { value: 1 },
      query: {},
      headers: {},
      revision: 1,
      retention: { ageMs, runs },
      ...(key !== undefined && { key: { key, digest: "d" } }),
    });
    await this.world.finish([id]);
    return id;
  }

  /** Lets time pass, with what is due in it. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.world.nowMs + ms;
    while ((this.world.wakeAtMs ?? Number.POSITIVE_INFINITY) <= untilMs) await this.world.act();
    this.world.nowMs = untilMs;
  }

  get ids(): string[] {
    return this.world.coordinator.list("default").runs.map(({ id }) => id);
  }
}

describe("a workflow that keeps its runs for an hour", () => {
  it("has none that is older, while others stay", async () => {
    const kept = new Kept();
    await kept.run("brief", { ageMs: HOUR_MS });
    const other = await kept.run("other", {});
    await kept.pass(HOUR_MS / 2);
    const late = await kept.run("brief", { ageMs: HOUR_MS });
    await kept.pass(HOUR_MS / 2 + 1_000);
    expect(kept.ids).toStrictEqual([late, other]);
    kept.world.crash();
    await kept.pass(HOUR_MS);
    expect(kept.ids).toStrictEqual([other]);
    await kept.pass(8 * DAY_MS);
    expect(kept.ids).toStrictEqual([]);
    expect(kept.world.rows("workflowRetention")).toBe(0);
  });

  it("keeps one whose key holds, for a day", async () => {
    const kept = new Kept();
    const id = await kept.run("brief", { ageMs: HOUR_MS }, "key");
    await kept.pass(2 * HOUR_MS);
    expect(kept.ids).toStrictEqual([id]);
    await kept.pass(DAY_MS);
    expect(kept.ids).toStrictEqual([]);
  });

  it("does not keep them longer than the shard does", async () => {
    const kept = new Kept();
    await kept.run("brief", { ageMs: 30 * DAY_MS });
    await kept.pass(8 * DAY_MS);
    expect(kept.ids).toStrictEqual([]);
  });
});

describe("a workflow that keeps so many runs", () => {
  it("has the newest of them, also over an opening", async () => {
    const kept = new Kept();
    const other = await kept.run("other", {});
    const ids: string[] = [];
    for (let left = 0; left < 4; left += 1) ids.push(await kept.run("brief", { runs: 2 }));
    expect(kept.ids).toStrictEqual([ids[3], ids[2], other]);
    kept.world.crash();
    ids.push(await kept.run("brief", { runs: 2 }));
    expect(kept.ids).toStrictEqual([ids[4], ids[3], other]);
    ids.push(await kept.run("brief", { runs: 1 }));
    expect(kept.ids).toStrictEqual([ids[5], other]);
  });

  it("keeps one that goes on, and counts it when it has ended again", async () => {
    const kept = new Kept();
    const first = await kept.run("brief", { runs: 1 });
    kept.world.tell(first, { type: "restart", from: "a/0" });
    await kept.run("brief", { runs: 1 });
    await kept.world.finish([first]).catch(() => undefined);
    expect(kept.ids).toHaveLength(1);
  });
});

/**
 * Runs of a workflow with a limit, with a crash at each commit in turn, before it and after it:
 * never more of them under way than the limit says, they begin in the order in which they came,
 * and each ends (P1, P2, G1).
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { flow } from "../../workflow/builder/index.ts";
import { type CrashAt, CoordinatorWorld } from "../support/coordinator-world.ts";

const FLOWS = {
  steps: flow((dag) => dag.node("a").apply("double").sleep(50).apply("double")),
  invokes: flow((dag) => dag.node("a").invoke("steps").apply("double")),
};
const LIMIT = 2;
const ENDED: ReadonlySet<string> = new Set(["completed", "failed", "terminated"]);
const RUNS = Number(process.env["ISOLA_RUNS"] ?? 4);
const TIMEOUT_MS = Math.max(60_000, 10_000 * RUNS);

/** Plays to the end; answers how many commits it took. */
async function play(seed: number, crashes: readonly CrashAt[]): Promise<number> {
  const world = new CoordinatorWorld({
    flows: FLOWS,
    functions: { double: (n) => Number(n) * 2 },
    concurrency: { steps: LIMIT },
    options: { residentRuns: 2, snapshotEvents: 4 },
    seed,
    crashes,
  });
  const ids: string[] = [];
  for (let at = 0; at < 6; at += 1) {
    const id = `0-${String(at)}`;
    ids.push(id);
    await world.startSurely(id, (seed + at) % 3 === 0 ? "invokes" : "steps", at);
    check(world);
  }
  for (let actions = 0; actions < 3_000; actions += 1) {
    await world.commit();
    check(world);
    if (ids.every((id) => ENDED.has(world.show(id).status))) break;
    await world.act();
  }
  for (const id of ids) expect(world.show(id).status).toBe("completed");
  expect([...world.ledger.keys()].length).toBe(2 * ids.length + invoked(ids, seed));
  return world.commits;
}

const invoked = (ids: readonly string[], seed: number): number =>
  ids.filter((_id, at) => (seed + at) % 3 === 0).length;

function check(world: CoordinatorWorld): void {
  const { runs } = world.coordinator.list("default", { workflow: "steps" });
  const oldestFirst = runs.toReversed();
  const underWay = oldestFirst.filter(({ status }) => status !== "queued" && !ENDED.has(status));
  expect(underWay.length).toBeLessThanOrEqual(LIMIT);
  // A DAG whose plan is being made is queued, too: it has a place, and may stand before others.
  const statuses = oldestFirst.map(({ status }) => status);
  const first = statuses.indexOf("queued");
  if (first === -1) return;
  const begunLater = statuses.slice(first + LIMIT).filter((status) => status !== "queued");
  expect(begunLater).toStrictEqual([]);
}

describe("runs of a workflow with a limit", () => {
  it(
    "keep to it and to their order whatever commit a crash comes at",
    async () => {
      const ends = fc.asyncProperty(fc.nat(2 ** 30), async (seed) => {
        const commits = await play(seed, []);
        const stride = Math.max(1, Math.floor(commits / 30));
        for (let commit = 1; commit <= commits; commit += stride) {
          await play(seed, [{ commit, when: "before" }]);
          await play(seed, [{ commit, when: "after" }]);
        }
      });
      await expect(fc.assert(ends, { numRuns: RUNS })).resolves.toBeUndefined();
    },
    TIMEOUT_MS,
  );
});

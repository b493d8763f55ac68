/** What an attempt asks for besides its result happens in the commit of its step, or never (G2). */
import { describe, expect, it } from "vitest";
import { flow } from "../../workflow/builder/index.ts";
import { CoordinatorWorld, type CoordinatorWorldOptions } from "../support/coordinator-world.ts";

const FLOWS = {
  asks: flow((dag) =>
    dag.node("a").apply("ask", { retry: { limit: 2, delayMs: 10, backoff: "constant" } }),
  ),
  asked: flow((dag) => dag.node("a").apply("work")),
};

type Staged = NonNullable<ReturnType<NonNullable<CoordinatorWorldOptions["takeStaged"]>>>;
type Start = Staged["starts"][number];

/** The attempt asks for a run of its own step's id, and fails as often as it is said. */
function worldOf(failures: number, options: Partial<CoordinatorWorldOptions> = {}) {
  const staged = new Map<string, Start[]>();
  let left = failures;
  const world: CoordinatorWorld = new CoordinatorWorld({
    flows: FLOWS,
    functions: {
      ask: (_input, { step, attempt }) => {
        const start = { id: `0-of-${step}`, namespace: "default", workflow: "asked" };
        const rest = { form: "dag", input: { value: attempt }, revision: 1 } as const;
        staged.set(step, [{ ...start, ...rest, query: {}, headers: {} }]);
        left -= 1;
        if (left >= 0) throw new Error("not yet");
        return attempt;
      },
      work: (n) => n,
    },
    takeStaged: (_run, step) => {
      const starts = staged.get(step) ?? [];
      staged.delete(step);
      return { starts, mails: [] };
    },
    ...options,
  });
  return world;
}

const ids = (world: CoordinatorWorld): string[] =>
  world.coordinator.list("default").runs.map(({ id }) => id);

describe("a run that an attempt asks for", () => {
  it("begins with the commit of its step", async () => {
    const world = worldOf(0);
    world.start("0-a", "asks", 1);
    await world.finish(["0-a"]);
    expect(ids(world)).toStrictEqual(["0-of-a/0", "0-a"]);
    await world.finish(["0-of-a/0"]);
    expect(world.output("0-of-a/0")).toBe(1);
  });

  it("does not begin for an attempt that fails, and once for one that is repeated", async () => {
    const world = worldOf(2);
    world.start("0-a", "asks", 1);
    await world.finish(["0-a"]);
    await world.finish(["0-of-a/0"]);
    expect(world.output("0-of-a/0")).toBe(3);
    expect(ids(world)).toHaveLength(2);
    const failing = worldOf(9);
    failing.start("0-a", "asks", 1);
    await failing.finish(["0-a"]);
    expect(ids(failing)).toStrictEqual(["0-a"]);
  });

  it("begins once, at whichever commit a crash comes", async () => {
    for (let commit = 1; commit < 16; commit += 1) {
      for (const when of ["before", "after"] as const) {
        const world = worldOf(1, { crashes: [{ commit, when }] });
        await world.startSurely("0-a", "asks", 1);
        await world.finish(["0-a"]);
        await world.finish(["0-of-a/0"]);
        expect(ids(world), `${when} ${String(commit)}`).toHaveLength(2);
      }
    }
  });
});

/** The first run's step tells the other, which waits for it. */
function telling(failures: number, options: Partial<CoordinatorWorldOptions> = {}) {
  const staged = new Map<string, Staged>();
  let left = failures;
  return new CoordinatorWorld({
    flows: { ...FLOWS, waits: flow((dag) => dag.node("a").waitForEvent("go")) },
    functions: {
      ask: (_input, { step, attempt }) => {
        const place = { namespace: "default", workflow: "waits", instance: "0-b" };
        const mail = { ...place, type: "go", id: `of ${step}`, payload: attempt };
        staged.set(step, { starts: [], mails: [mail] });
        left -= 1;
        if (left >= 0) throw new Error("not yet");
        return attempt;
      },
    },
    takeStaged: (_run, step) => {
      const taken = staged.get(step);
      staged.delete(step);
      return taken;
    },
    ...options,
  });
}

async function told(world: CoordinatorWorld): Promise<void> {
  await world.startSurely("0-b", "waits", 1);
  await world.startSurely("0-a", "asks", 1);
  await world.finish(["0-a"]);
}

describe("an event that an attempt sends", () => {
  it("is sent with the commit of its step, by the attempt that completes", async () => {
    const world = telling(2);
    await told(world);
    await world.finish(["0-b"]);
    expect(world.output("0-b")).toBe(3);
    expect(world.rows("workflowOutbox")).toBe(0);
  });

  it("is not sent by attempts that fail", async () => {
    const world = telling(9);
    await told(world);
    await world.commit();
    expect(world.rows("workflowOutbox")).toBe(0);
    expect(world.show("0-b").status).toBe("waiting");
  });

  it("is delivered until it arrives, and taken once, wherever a crash comes", async () => {
    for (let commit = 1; commit < 20; commit += 1) {
      for (const when of ["before", "after"] as const) {
        let tries = 0;
        const delivers = (): boolean => (tries += 1) > 2;
        const world = telling(1, { crashes: [{ commit, when }], delivers });
        await told(world);
        await world.finish(["0-b"]);
        while (world.rows("workflowOutbox") > 0) await world.act();
        const events = world.coordinator
          .history("default", "0-b")
          .entries.filter(({ type }) => type === "eventReceived");
        expect(events, `${when} ${String(commit)}`).toHaveLength(1);
      }
    }
  });

  it("goes with its namespace", async () => {
    const world = telling(0, { delivers: () => false });
    await told(world);
    await world.commit();
    expect(world.rows("workflowOutbox")).toBe(1);
    world.coordinator.endNamespace("default");
    expect(world.rows("workflowOutbox")).toBe(0);
  });
});

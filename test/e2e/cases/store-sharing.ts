/** The job of a call: shared with whom it calls, decided with its answer, gone with its end. */
import { expect } from "vitest";
import { STORE_STEPS } from "../../support/store-steps.ts";
import { type TestPlatform, pause } from "../../support/platform.ts";
import { until } from "../../support/until.ts";
import type { CaseGroup } from "./case.ts";

/** Does what it is told: steps in the store, calls of others with their own scripts, an end. */
const ACTOR = `${STORE_STEPS}
  export const config = { timeoutMs: 3_000 };
  export default async ({ job, before = [], calls = [], after = [], end }, ctx) => {
    const store = job === undefined ? ctx.store : ctx.store.job(job);
    const answers = [await runSteps(store, before)];
    for (const { name, input, caught } of calls) {
      const work = ctx.call(name, input);
      answers.push(caught ? await work.catch((error) => ({ code: error.code })) : await work);
    }
    answers.push(await runSteps(store, after));
    if (end === "throw") throw new TypeError("told to");
    if (end === "hang") await new Promise((go) => setTimeout(go, 20_000));
    if (end === "exit") { ctx.waitUntil(new Promise((go) => setTimeout(go, 50))); }
    return answers;
  };`;

const JOBS = `
  export default async ({ end, name, durability, hints }, ctx) => {
    if (end !== undefined) {
      return ctx.store.job(end).end().then(() => "ended", (error) => error.code);
    }
    const options = { ...(name ? { name } : {}), ...(durability ? { durability } : {}),
      ...(hints ? { hints } : {}) };
    try { return await (await ctx.store.createJob(options)).info(); }
    catch (error) { return { code: error.code }; }
  };`;

/** Keeps what it is given, and uses it when its call is long over. */
const HOARDER = `
  let kept;
  export default async (what, ctx) => {
    if (what === "keep") {
      await ctx.store.put("k", "mine");
      const { store } = ctx;
      kept = { ctx, store, bucket: store.bucket("b"), job: (await store.info()).id };
      return kept.job;
    }
    const code = (work) => work().then((v) => v ?? "nothing", (error) => error.code ?? error.name);
    return [await code(() => kept.store.get("k")), await code(() => kept.bucket.put("k", 1)),
      await code(() => kept.ctx.store.put("k", 1)),
      await code(() => ctx.store.job(kept.job).get("k"))];
  };`;

const LATER = `
  const seen = [];
  const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
  export default async (what, ctx) => {
    if (what === "seen") return seen.splice(0);
    const work = async (wait) => {
      await sleep(wait);
      await ctx.store.put("later", what);
      seen.push(await ctx.store.get("later"), await ctx.store.get("before") ?? "none");
    };
    if (what === "used") await ctx.store.put("before", 1);
    ctx.waitUntil(work(100).catch((error) => seen.push(error.code)));
    return (await ctx.call("later-id"));
  };`;

const LATER_ID = "export default async (_, ctx) => (await ctx.store.info()).id;";

async function jobOf(platform: TestPlatform, input: unknown = {}): Promise<{ id: string }> {
  return (await platform.call("jobs", { json: input })).json as { id: string };
}

interface Script {
  readonly job?: string;
  readonly before?: readonly unknown[];
  readonly calls?: readonly { name: string; input: unknown; caught?: true }[];
  readonly after?: readonly unknown[];
  readonly end?: "throw" | "hang" | "exit";
}

const run = (platform: TestPlatform, script: Script, withinMs = 30_000) =>
  platform.call("actor", { json: script, withinMs });

/** What stands under `k` in a client's job now. */
async function left(platform: TestPlatform, job: string, key = "k"): Promise<unknown> {
  const answer = await run(platform, { job, before: [["get", key]] });
  return (answer.json as unknown[][])[0]?.[0];
}

async function callJobs(platform: TestPlatform): Promise<number> {
  const { items } = await platform.client.store.jobs();
  return items.filter(({ kind }) => kind === "call").length;
}

const sharing: CaseGroup["cases"] = {
  "functions that call each other share one job, both ways and at any depth": async (platform) => {
    const inner = {
      name: "actor",
      input: {
        before: [["get", "from-root"]],
        calls: [{ name: "actor", input: { before: [["put", "from-leaf", 3]] } }],
        after: [["incr", "n", 5]],
      },
    };
    const answer = await run(platform, {
      before: [
        ["put", "from-root", { text: "hello" }],
        ["incr", "n"],
      ],
      calls: [inner, inner],
      after: [
        ["get", "from-leaf"],
        ["get", "n"],
      ],
    });
    const [, first, , last] = answer.json as [unknown, unknown[][], unknown, unknown];
    expect(first[0]).toEqual([{ text: "hello" }]);
    expect(last).toEqual([3, 11]);
  },

  "calls from outside never meet in their jobs": async (platform) => {
    const answers = await Promise.all(
      [...Array(20).keys()].map(async (n) => {
        const answer = await run(platform, {
          before: [
            ["put", "own", n],
            ["pause", 20],
            ["get", "own"],
            ["incr", "n"],
          ],
        });
        return (answer.json as unknown[][])[0]?.slice(2);
      }),
    );
    expect(answers).toEqual([...Array(20).keys()].map((n) => [n, 1]));
  },

  "a function on the other side of a failure has done what it did": async (platform) => {
    const fails = { before: [["put", "k", "kept"]], end: "throw" as const };
    const answer = await run(platform, {
      calls: [{ name: "actor", input: fails, caught: true }],
      after: [["get", "k"]],
    });
    expect(answer.json).toEqual([[], { code: "FUNCTION_ERROR" }, ["kept"]]);
  },

  "a job that nobody uses any more is gone, whatever way its call ended": async (platform) => {
    const before = [
      ["put", "k", "x".repeat(100_000)],
      ["put", "d", 1, { durability: "disk" }],
      ["lock", "l", { leaseMs: 60_000 }],
      ["take", "k"],
    ];
    for (const end of [undefined, "throw", "hang", "exit"] as const) {
      await run(platform, { before, ...(end === undefined ? {} : { end }) });
    }
    await until(async () => (await callJobs(platform)) === 0, 8_000);
  },
};

const takes: CaseGroup["cases"] = {
  "what a call took is gone with its answer, and back if it failed": async (platform) => {
    const { id: job } = await jobOf(platform);
    for (const [end, expected] of [
      ["throw", "value"],
      [undefined, null],
    ] as const) {
      await run(platform, { job, before: [["put", "k", "value"]] });
      const answer = await run(platform, {
        job,
        before: [
          ["take", "k"],
          ["has", "k"],
          ["take", "k"],
        ],
        ...(end === undefined ? {} : { end }),
      });
      if (end === undefined) expect(answer.json).toEqual([["value", false, null], []]);
      await until(async () => (await left(platform, job)) === expected);
    }
  },

  "what a call took may be put over, destroyed or ended with its job meanwhile": async (
    platform,
  ) => {
    for (const [then, expected] of [
      [["put", "k", "new"], "new"],
      [["destroy"], null],
      [["end"], undefined],
    ] as const) {
      const { id: job } = await jobOf(platform);
      await run(platform, { job, before: [["put", "k", "value"]] });
      const answer = await run(platform, { job, before: [["take", "k"], then] });
      expect([then, answer.status, answer.text.slice(0, 300)]).toEqual([
        then,
        200,
        expect.stringContaining('"value"'),
      ]);
      if (expected !== undefined) expect(await left(platform, job)).toBe(expected);
    }
  },

  "what is taken at a deadline or by a client that leaves is back": async (platform) => {
    const { id: job } = await jobOf(platform);
    await run(platform, { job, before: [["put", "k", "value"]] });
    const late = await run(platform, { job, before: [["take", "k"]], end: "hang" });
    expect(late.code).toBe("TIMEOUT");
    await until(async () => (await left(platform, job)) === "value");
    const gone = run(platform, { job, before: [["take", "k"]], end: "hang" }, 500);
    await expect(gone).rejects.toThrow("no answer in time");
    await until(async () => (await left(platform, job)) === "value");
  },

  "what a called function took is decided with its caller": async (platform) => {
    const { id: job } = await jobOf(platform);
    const take = (end?: "throw") => ({
      name: "actor",
      input: { job, before: [["take", "k"]], ...(end ? { end } : {}) },
      caught: true as const,
    });
    await run(platform, { job, before: [["put", "k", 1]] });
    const failed = await run(platform, {
      job,
      calls: [take()],
      after: [["has", "k"]],
      end: "throw",
    });
    expect(failed.status).toBe(500);
    await until(async () => (await left(platform, job)) === 1);
    // The first attempt fails and gives it back; the second one gets it.
    const answer = await run(platform, {
      job,
      calls: [take("throw"), take()],
      after: [["has", "k"]],
    });
    expect(answer.json).toEqual([[], { code: "FUNCTION_ERROR" }, [[1], []], [false]]);
    await pause(50);
    expect(await left(platform, job)).toBe(null);
  },
};

const lateness: CaseGroup["cases"] = {
  "what is kept of a call opens nothing when it is over": async (platform) => {
    const first = await platform.call("hoarder", { json: "keep" });
    expect(first.status, first.text).toBe(200);
    const codes = (await platform.call("hoarder", { json: "use" })).json as string[];
    expect(codes.slice(0, 3)).toEqual(["CONFLICT", "CONFLICT", "CONFLICT"]);
    expect(["JOB_NOT_FOUND", "JOB_ENDED"]).toContain(codes[3]);
  },

  "waitUntil keeps the job until it is done, and no longer": async (platform) => {
    for (const [what, before] of [
      ["used", 1],
      ["unused", "none"],
    ] as const) {
      await platform.call("later", { json: what });
      let seen: unknown[] = [];
      await until(async () => {
        seen = (await platform.call("later", { json: "seen" })).json as unknown[];
        return seen.length > 0;
      });
      expect(seen).toEqual([what, before]);
    }
    await until(async () => (await callJobs(platform)) === 0);
  },
};

const jobs: CaseGroup["cases"] = {
  "a job made by a function is shared by id, and lives until it is ended": async (platform) => {
    const info = await jobOf(platform, { name: "mine", durability: "disk", hints: { calls: 3 } });
    expect(info).toMatchObject({ name: "mine", kind: "client", durability: "disk" });
    const { id: job } = info;
    expect(job).toMatch(/^\d+-[0-9a-f]{32}$/);
    await run(platform, { job, before: [["put", "k", { n: 1 }]] });
    expect(await left(platform, job)).toEqual({ n: 1 });
    expect((await platform.call("jobs", { json: { end: job } })).json).toBe("ended");
    const answer = await run(platform, { job, before: [["put", "k", 1]] });
    expect((answer.json as unknown[][])[0]).toMatchObject([{ code: "JOB_ENDED" }]);
  },

  "another namespace's job is as absent as one that never was": async (platform) => {
    const { id: job } = await jobOf(platform);
    await run(platform, { job, before: [["put", "k", "secret"]] });
    const never = job.replace(/[0-9a-f]{8}$/, "00000000");
    const operations = [
      ["get", "k"],
      ["put", "k", 1],
      ["take", "k"],
      ["delete", "k"],
      ["list"],
      ["lock", "l", { leaseMs: 10 }],
      ["info"],
      ["end"],
    ];
    const texts: string[] = [];
    for (const id of [job, never]) {
      const answer = await platform.call("actor.intruders", {
        json: { job: id, before: operations },
      });
      const [found] = answer.json as { code: string; message: string }[][];
      expect(found?.map(({ code }) => code)).toEqual(operations.map(() => "JOB_NOT_FOUND"));
      texts.push(JSON.stringify(found).replaceAll(id, "ID"));
    }
    expect(texts[0]).toBe(texts[1]);
    for (const id of ["", "x", "0", "9999-" + "0".repeat(32), `${job}0`, job.toUpperCase() + "Z"]) {
      const answer = await platform.call("actor.intruders", {
        json: { job: id, before: [["info"]] },
      });
      expect((answer.json as unknown[][])[0]).toMatchObject([{ code: "JOB_NOT_FOUND" }]);
    }
    expect(await left(platform, job)).toBe("secret");
  },

  "what is no option of a job is refused": async (platform) => {
    for (const input of [
      { durability: "tape" },
      { hints: { calls: -1 } },
      { name: "x".repeat(300) },
    ]) {
      expect(await jobOf(platform, input)).toEqual({ code: "VALUE_INVALID" });
    }
  },
};

export const storeSharingCases: CaseGroup = {
  topic: "the job of a call",
  prepare: async (platform) => {
    await platform.client.namespaces.create({ namespace: "intruders" });
    await platform.deploy("actor", ACTOR, { timeoutMs: 3_000 });
    await platform.deploy("actor", ACTOR, undefined, { namespace: "intruders" });
    await platform.deploy("jobs", JOBS);
    await platform.deploy("hoarder", HOARDER);
    await platform.deploy("later", LATER);
    await platform.deploy("later-id", LATER_ID);
  },
  cases: { ...sharing, ...takes, ...lateness, ...jobs },
};

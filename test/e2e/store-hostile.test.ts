/** Tenant code that goes around the SDK: raw calls of the scope, forged values, others' ids. */
import { beforeAll, describe, expect, it } from "vitest";
import { usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

/** The scope's stub as it stands in the isolate: hidden by the shim, not out of reach. */
const RAW = `
  import { env } from "cloudflare:workers";
  const told = (thrown) => thrown.code ?? String(thrown.message).slice(0, 200);
  const run = async (target, call, value) => {
    try {
      const result = value === undefined ? await target.run(call) : await target.run(call, value);
      return result.ok ? { ok: result.answer } : result.error.code;
    } catch (thrown) { return told(thrown); }
  };
  export default async ({ callId, job, calls, request, holds, straight }, ctx) => {
    const scope = await env.__isola.open(straight ? ctx.callId : callId ?? ctx.callId);
    if (holds) {
      await ctx.store.put("k", 1);
      for (let i = 0; i < 20; i += 1) await scope.streams();
      return ctx.callId;
    }
    if (request) {
      const made = await scope.createJob(request).catch((thrown) => ({ thrown: told(thrown) }));
      return made.ok ? made.answer : made.error?.code ?? made.thrown;
    }
    const id = callId ?? ctx.callId;
    const target = await (straight ? env.__isola.store(id, job) : scope.store(job));
    const answers = [];
    for (const [call, value] of calls) {
      const evil = { fn: () => 1, stub: scope, nested: { deep: [() => 1] } }[value] ?? value;
      answers.push(await run(target, call, evil));
    }
    return answers;
  };`;

const WAITS = `export default async (_, ctx) => {
  await ctx.store.put("secret", "of the victim");
  await new Promise((go) => setTimeout(go, 3_000));
  return await ctx.store.get("secret");
};`;

const platform = usePlatform({ cells: 1 });

async function raw(json: object, namespace = "default"): Promise<unknown> {
  const answer = await platform().call(`raw.${namespace}`, { json });
  return answer.status === 200 ? answer.json : answer.code;
}

beforeAll(async () => {
  await platform().client.namespaces.create({ namespace: "evil" });
  await platform().deploy("raw", RAW);
  await platform().deploy("raw", RAW, {}, { namespace: "evil" });
  await platform().deploy("waits", WAITS);
});

describe("raw calls of the scope", () => {
  it("reach no operation of the platform", async () => {
    const platformOnly = [
      { op: "usage" },
      { op: "usage", allowances: { default: 0 } },
      { op: "endNamespace" },
      { op: "jobs" },
      { op: "createJob", name: "x", kind: "run", durability: "disk" },
      { op: "acknowledge", lease: 1 },
      { op: "giveBack", lease: 1 },
      { op: "toString" },
      { op: "__proto__" },
      { op: null },
      {},
    ];
    for (const straight of [0, 1]) {
      const answers = await raw({ straight, calls: platformOnly.map((call) => [call]) });
      expect(answers).toEqual(platformOnly.map(() => "VALUE_INVALID"));
    }
  });

  it("store nothing that is no value, under no name that is none", async () => {
    const put = { op: "put", bucket: "default", key: "k" };
    const answers = (await raw({
      calls: [
        [put, "fn"],
        [put, "stub"],
        [put, "nested"],
        [{ ...put, key: { toString: "k" } }, 1],
        [{ ...put, key: ["k"] }, 1],
        [{ ...put, bucket: 5 }, 1],
        [{ ...put, options: { ttlMs: 1e300 } }, 1],
        [{ ...put, options: { fence: { lock: 5, token: 1 } } }, 1],
        [{ ...put, surprise: 1 }, 1],
        [{ op: "list", bucket: "default", limit: 1e9 }],
        [{ op: "get", bucket: "default", key: "k", range: { start: -1, end: 1e18 } }],
        [{ op: "job" }],
      ],
    })) as unknown[];
    const last = answers.pop();
    expect(answers).toEqual([
      ...["VALUE_INVALID", "VALUE_INVALID", "VALUE_INVALID"],
      ...["KEY_INVALID", "KEY_INVALID", "KEY_INVALID"],
      ...["VALUE_INVALID", "VALUE_INVALID", "VALUE_INVALID", "VALUE_INVALID", "VALUE_INVALID"],
    ]);
    expect(last).toMatchObject({ ok: { objects: 0, kind: "call" } });
  });

  it("make jobs of clients only, whatever they ask", async () => {
    expect(
      await raw(
        { request: { kind: "run", workflow: "x", name: "n", namespace: "default" } },
        "evil",
      ),
    ).toMatchObject({ kind: "client", name: "n" });
    for (const request of [{ name: 5 }, { durability: "tape" }, { hints: "many" }]) {
      expect(await raw({ request })).toBe("VALUE_INVALID");
    }
    const mine = await platform().client.in("evil").store.jobs();
    expect(mine.items.map(({ kind }) => kind)).toEqual(["client"]);
  });

  it("open no other call's scope, and no other namespace's job", async () => {
    const waiting = platform().call("waits", { json: null });
    let victim = "";
    await until(async () => {
      const { items } = await platform().client.store.jobs();
      victim = items.find(({ name }) => name === "waits")?.id ?? "";
      return victim !== "";
    });
    const callId = victim.split("-")[1] ?? "";
    const calls = [
      [{ op: "get", bucket: "default", key: "secret" }],
      [{ op: "take", bucket: "default", key: "secret" }],
      [{ op: "destroyBucket", bucket: "default" }],
      [{ op: "endJob" }],
    ];
    // Its id is no secret within the platform: who asks decides.
    for (const namespace of ["evil", "default"]) {
      expect(await raw({ callId, calls }, namespace)).toBe("FUNCTION_ERROR");
      expect(await raw({ callId, calls, straight: 1 }, namespace)).toBe("FUNCTION_ERROR");
    }
    expect(await raw({ job: victim, calls }, "evil")).toEqual(calls.map(() => "JOB_NOT_FOUND"));
    // Within the namespace the job may be shared by id, but not ended by others.
    expect(((await raw({ job: victim, calls: [[{ op: "endJob" }]] })) as unknown[])[0]).toBe(
      "CONFLICT",
    );
    expect((await waiting).json).toBe("of the victim");
  });

  it("keep no job longer than its call, whatever they say goes on", async () => {
    await platform().deploy("by", `export default (ns, ctx) => ctx.call("raw", { holds: 1 });`);
    for (const name of ["raw", "by"]) {
      const answer = await platform().call(name, { json: { holds: 1 } });
      expect(answer.json).toMatch(/^[0-9a-f]{32}$/);
    }
    await until(async () => {
      const { items } = await platform().client.store.jobs();
      return items.every(({ kind }) => kind !== "call");
    });
  });

  it("take as many words about a job as they like: it is none", async () => {
    const calls = [[{ op: "job" }]];
    for (const job of ["../0", "0-", "-1", "00-" + "a".repeat(32), "x".repeat(100_000)]) {
      expect(await raw({ job, calls })).toEqual(["JOB_NOT_FOUND"]);
    }
  });
});

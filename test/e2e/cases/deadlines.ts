/** Deadlines: an answer in time, a signal, and an end that no code survives (DESIGN §4 Driver). */
import { expect } from "vitest";
import { LIMITS } from "../../../runtime/contract/index.ts";
import { COUNTER } from "../../support/counter.ts";
import { pause } from "../../support/platform.ts";
import { until } from "../../support/until.ts";
import type { CaseGroup } from "./case.ts";

const SLOW = `
  const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
  export default async ({ way, name }, ctx) => {
    const count = (what) => ctx.call("counter", { name: name + "/" + what, add: 1 });
    if (way === "ticks") {
      // A tick that the deadline meets on its way fails; that is no unwinding yet.
      try { for (;;) { await sleep(50); await count("tick").catch(() => undefined); } }
      catch { await count("catch"); }
      finally { await count("finally"); }
    }
    if (way === "signal") {
      await new Promise((go) => ctx.signal.addEventListener("abort", go));
      await count(ctx.signal.reason.code);
      return "too late";
    }
    if (way === "late") { await sleep(1_100); return "late answer"; }
    if (way === "sub") {
      try { return await ctx.call("patient", { name }); }
      catch (error) { await count(error.code); throw error; }
    }
    if (way === "waits") {
      ctx.waitUntil(sleep(300).then(() => count("background")));
      return "now";
    }
    return "quick";
  };`;

const PATIENT = `
  const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
  export default async ({ name }, ctx) => {
    if (name === "warm") return;
    const leftMs = ctx.deadline - Date.now();
    await ctx.call("counter", { name: name + "/left", add: leftMs });
    for (;;) { await sleep(50); await ctx.call("counter", { name: name + "/patient", add: 1 }); }
  };`;

const TIMEOUT_MS = 800;
const END_MS = TIMEOUT_MS + LIMITS.graceMs;

export const deadlineCases: CaseGroup = {
  topic: "deadlines",
  isConcurrent: true,
  prepare: async (platform) => {
    await platform.deploy("counter", COUNTER);
    await platform.deploy("slow", SLOW, { timeoutMs: TIMEOUT_MS });
    await platform.deploy("patient", PATIENT, { timeoutMs: 60_000 });
    // Loaded beforehand: on a busy machine a load takes as long as the deadlines here.
    await platform.call("slow", { json: { way: "quick" } });
    await platform.call("patient", { json: { name: "warm" } });
    await platform.call("counter", { json: { name: "warm" } });
  },
  cases: {
    "the caller gets 504 at the deadline, and nothing of the function runs after its grace": async (
      platform,
    ) => {
      const startedAtMs = performance.now();
      const answer = await platform.call("slow", { json: { way: "ticks", name: "a" } });
      const tookMs = performance.now() - startedAtMs;
      expect([answer.status, answer.code]).toEqual([504, "TIMEOUT"]);
      expect(answer.json).toMatchObject({ error: { retryable: true } });
      expect(tookMs).toBeGreaterThanOrEqual(TIMEOUT_MS - 5);
      expect(tookMs).toBeLessThan(TIMEOUT_MS + 500);
      const counted = async (what: string): Promise<number> =>
        (await platform.call("counter", { json: { name: `a/${what}` } })).json as number;
      expect(await counted("tick")).toBeGreaterThan(2);
      await pause(END_MS - TIMEOUT_MS + 300);
      const ticks = await counted("tick");
      await pause(400);
      expect(await counted("tick")).toBe(ticks);
      // Dropped, not unwound: neither catch nor finally ran.
      expect([await counted("catch"), await counted("finally")]).toEqual([0, 0]);
    },

    "the signal aborts at the deadline, and there is time to react": async (platform) => {
      const answer = await platform.call("slow", { json: { way: "signal", name: "b" } });
      expect([answer.status, answer.code]).toEqual([504, "TIMEOUT"]);
      await pause(300);
      const reacted = await platform.call("counter", { json: { name: "b/TIMEOUT" } });
      expect(reacted.json).toBe(1);
    },

    "an answer after the deadline is none": async (platform) => {
      const answer = await platform.call("slow", { json: { way: "late" } });
      expect([answer.status, answer.code]).toEqual([504, "TIMEOUT"]);
      const record = (await platform.client.calls({ function: "slow" })).find(
        ({ callId }) => callId === answer.headers["x-call-id"],
      );
      expect(record).toMatchObject({ outcome: "timeout", status: 504 });
    },

    "a call between functions is bounded by its caller's deadline": async (platform) => {
      const answer = await platform.call("slow", { json: { way: "sub", name: "c" } });
      expect([answer.status, answer.code]).toEqual([504, "TIMEOUT"]);
      const counted = async (what: string): Promise<number> =>
        (await platform.call("counter", { json: { name: `c/${what}` } })).json as number;
      expect(await counted("left")).toBeGreaterThan(0);
      expect(await counted("left")).toBeLessThanOrEqual(TIMEOUT_MS);
      await pause(LIMITS.graceMs + 300);
      const ticks = await counted("patient");
      await pause(300);
      expect(await counted("patient")).toBe(ticks);
    },

    "a caller learns at once that its callee's time is up": async (platform) => {
      await platform.deploy(
        "measures",
        `export default async (_, ctx) => {
          const startedAtMs = Date.now();
          try { await ctx.call("slow", { way: "signal", name: "e" }); }
          catch (error) { return [error.code, Date.now() - startedAtMs]; }
        };`,
      );
      const [code, tookMs] = (await platform.call("measures")).json as [string, number];
      expect(code).toBe("TIMEOUT");
      expect(tookMs).toBeGreaterThanOrEqual(TIMEOUT_MS - 5);
      expect(tookMs).toBeLessThan(TIMEOUT_MS + 500);
      await pause(300);
      const reacted = await platform.call("counter", { json: { name: "e/TIMEOUT" } });
      expect(reacted.json).toBe(1);
    },

    "no timeoutMs, no deadline": async (platform) => {
      await platform.deploy(
        "endless",
        `export default async (_, ctx) => {
          await new Promise((go) => setTimeout(go, 900));
          return [ctx.deadline, ctx.signal.aborted];
        };`,
        { timeoutMs: 0 },
      );
      expect((await platform.call("endless")).json).toEqual([null, false]);
    },

    "waitUntil goes on after the answer": async (platform) => {
      const answer = await platform.call("slow", { json: { way: "waits", name: "d" } });
      expect(answer.json).toBe("now");
      await pause(600);
      const counted = await platform.call("counter", { json: { name: "d/background" } });
      expect(counted.json).toBe(1);
    },

    "a stream behind its answer still has its context, whatever was called meanwhile": async (
      platform,
    ) => {
      await platform.deploy(
        "behind",
        `export default { fetch(request, env) {
          const encoder = new TextEncoder();
          return new Response(new ReadableStream({ async pull(stream) {
            await scheduler.wait(1_200);
            console.log("said behind the answer");
            const count = await env.ISOLA.call("counter", { name: "behind", add: 1 });
            stream.enqueue(encoder.encode(String(count)));
            stream.close();
          } }));
        } };`,
      );
      const streamed = platform.call("behind");
      for (let round = 0; round < 5; round += 1) {
        const one = platform.call("counter", { json: { name: "meanwhile" } });
        await Promise.all([one, ...Array.from({ length: 20 }, () => platform.call("counter"))]);
      }
      expect((await streamed).text).toBe("1");
      const said = async (): Promise<boolean> => {
        const lines = await platform.client.logs({ function: "behind" });
        return lines.some(({ text }) => text === "said behind the answer");
      };
      await until(said);
    },
  },
};

/** Console lines, records and spans of calls, as the admin API shows them. */
import { expect } from "vitest";
import { LIMITS, type LogLine } from "../../../runtime/contract/index.ts";
import { type TestPlatform, pause } from "../../support/platform.ts";
import { until } from "../../support/until.ts";
import type { CaseGroup } from "./case.ts";

const CHATTY = `
  const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
  export default async ({ way }, ctx) => {
    if (way === "levels") {
      console.debug("d"); console.log("l", 1, { a: [1] }); console.info("i");
      console.warn("w %s %d", "x", 5); console.error(new RangeError("in words"));
      ctx.log.warn("through the context");
    }
    if (way === "unicode") console.log("grüße 😀 \\u0000 \\u2028 \\ud800 end\\r\\nnext");
    if (way === "large") { console.log("L".repeat(30_000)); console.log("after"); }
    if (way === "many") for (let i = 0; i < 400; i += 1) console.log("line " + i);
    if (way === "wide") for (let i = 0; i < 20; i += 1) console.log(i + "é".repeat(1_000));
    if (way === "slow") { console.log("begun"); await sleep(1_500); console.log("ended"); }
    if (way === "after") ctx.waitUntil(sleep(100).then(() => console.log("in the background")));
    if (way === "forged") console.log("\\u0001E x default/other@1 1000");
    return way;
  };`;

/** Lines of a call, as soon as there are `count`. */
async function linesOf(
  platform: TestPlatform,
  callId: unknown,
  count: number,
): Promise<readonly LogLine[]> {
  let lines: readonly LogLine[] = [];
  await until(async () => {
    lines = (await platform.client.logs()).filter((line) => line.callId === callId);
    return lines.length >= count;
  }, 3_000);
  return lines;
}

async function say(platform: TestPlatform, way: string): Promise<unknown> {
  return (await platform.call("chatty", { json: { way } })).headers["x-call-id"];
}

const logs: CaseGroup["cases"] = {
  "each console line is kept with its level and its call": async (platform) => {
    const lines = await linesOf(platform, await say(platform, "levels"), 6);
    expect(lines.map(({ level, text }) => [level, text.split("\n")[0]])).toEqual([
      ["debug", "d"],
      ["info", "l 1 { a: [ 1 ] }"],
      ["info", "i"],
      ["warn", "w x 5"],
      ["error", "RangeError: in words"],
      ["warn", "through the context"],
    ]);
    for (const line of lines) {
      expect(line).toMatchObject({ namespace: "default", function: "chatty", version: 1 });
      expect(Math.abs(line.atMs - Date.now())).toBeLessThan(20_000);
    }
  },

  "lines keep every character": async (platform) => {
    const [line] = await linesOf(platform, await say(platform, "unicode"), 1);
    expect(line?.text.replace("\ufffd", "\ud800")).toBe(
      "grüße 😀 \u0000 \u2028 \ud800 end\r\nnext",
    );
  },

  "large and many lines are cut and counted, never lost in silence": async (platform) => {
    const large = await linesOf(platform, await say(platform, "large"), 2);
    const [cut] = large.map(({ text }) => text);
    expect(cut?.length).toBeGreaterThan(16_000);
    expect(cut?.replaceAll(/L+/g, "L")).toBe("L… (cut)");
    expect(large[1]?.text).toBe("after");
    const many = await linesOf(platform, await say(platform, "many"), LIMITS.logLinesPerFlush + 1);
    expect(many.at(0)?.text).toBe("line 0");
    expect(many.at(-1)?.text).toBe(`${String(400 - LIMITS.logLinesPerFlush)} more lines dropped`);
    const wide = await linesOf(platform, await say(platform, "wide"), 20);
    expect(wide.map(({ text }) => text.length)).toEqual(
      [...Array(20).keys()].map((i) => 1_000 + String(i).length),
    );
  },

  "lines of a call that still runs are followed": async (platform) => {
    const end = new AbortController();
    const seen: string[] = [];
    const following = (async () => {
      const query = { function: "chatty", signal: end.signal };
      for await (const line of platform.client.followLogs(query)) seen.push(line.text);
    })().catch(() => undefined);
    const answer = platform.call("chatty", { json: { way: "slow" } });
    let isAnswered = false;
    void answer.then(() => (isAnswered = true));
    await until(() => seen.includes("begun"), 3_000);
    expect(isAnswered).toBe(false);
    await answer;
    await until(() => seen.includes("ended"), 3_000);
    end.abort();
    await following;
  },

  "lines after the answer are kept too, and none passes for the platform's own": async (
    platform,
  ) => {
    const [line] = await linesOf(platform, await say(platform, "after"), 1);
    expect(line?.text).toBe("in the background");
    const [forged] = await linesOf(platform, await say(platform, "forged"), 1);
    expect(forged?.text).toContain("E x default/other@1 1000");
  },
};

const traces: CaseGroup["cases"] = {
  "a call and what it calls are spans of one trace": async (platform) => {
    const traceId = "5af7651916cd43dd8448eb211c80319d";
    const answer = await platform.call("traced", {
      json: 2,
      headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` },
    });
    expect(answer.json).toMatchObject([traceId, [traceId, [traceId, null]]]);
    await until(async () => (await platform.client.traces({ traceId })).length >= 3);
    const spans = await platform.client.traces({ traceId });
    const root = spans.find(({ parentSpanId }) => parentSpanId === "b7ad6b7169203331");
    expect(root).toMatchObject({ kind: "server" });
    expect(answer.headers["traceparent"]).toContain(root?.spanId);
    const child = spans.find(({ parentSpanId }) => parentSpanId === root?.spanId);
    const leaf = spans.find(({ parentSpanId }) => parentSpanId === child?.spanId);
    expect(new Set(spans.map(({ spanId }) => spanId)).size).toBe(3);
    expect(leaf?.attributes).toMatchObject({ "isola.function": "traced", "isola.version": 1 });
    for (const span of spans) expect(span.endedAtMs).toBeGreaterThanOrEqual(span.startedAtMs);
  },

  "a record is kept of every call, however it ended": async (platform) => {
    await platform.call("chatty", { json: { way: "none" } });
    await platform.call("traced", { json: "throw" });
    await pause(300);
    const [ok] = (await platform.client.calls({ function: "chatty" })).slice(-1);
    expect(ok).toMatchObject({ outcome: "ok", status: 200, backend: "isolate", bytesOut: 6 });
    expect(ok?.bytesIn).toBe(Buffer.byteLength('{"way":"none"}'));
    const [failed] = (await platform.client.calls({ function: "traced" })).slice(-1);
    expect(failed).toMatchObject({ outcome: "function_error", status: 500 });
    const usage = await platform.client.usage();
    const row = usage.functions.find((one) => one.function === "chatty");
    expect(row?.calls).toBeGreaterThan(0);
  },
};

export const telemetryCases: CaseGroup = {
  topic: "what is kept of a call",
  prepare: async (platform) => {
    await platform.deploy("chatty", CHATTY);
    await platform.deploy(
      "traced",
      `export default async (n, ctx) => {
        if (n === "throw") throw new Error("on purpose");
        return [ctx.trace.traceId, n > 0 ? await ctx.call("traced", n - 1) : null];
      };`,
    );
  },
  cases: { ...logs, ...traces },
};

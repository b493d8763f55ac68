/** Large objects of the store from functions: whole, in ranges, and at constant memory. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { cellOf } from "../support/cells.ts";
import { usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

const MIB = 1024 * 1024;
/** What a cell may grow while an object of any size passes (issue: 64 MB). */
const GROWTH_MAX_BYTES = 64 * MIB;

/** Octets that say where they stand: a counter of the place, every 4 KiB. */
const STREAMS = `
  const MIB = 1024 * 1024;
  const chunkAt = (at, size) => {
    const words = new Uint32Array(size / 4);
    for (let i = 0; i < words.length; i += 1024) words[i] = at / 4 + i;
    return new Uint8Array(words.buffer);
  };
  const source = (size, chunkBytes = MIB) => {
    let at = 0;
    return new ReadableStream({ pull(controller) {
      if (at >= size) return controller.close();
      const chunk = chunkAt(at, Math.min(chunkBytes, size - at));
      at += chunk.byteLength;
      controller.enqueue(chunk);
    } }, { highWaterMark: 0 });
  };
  const check = async (stream, start = 0) => {
    let at = start;
    let wrong = 0;
    for await (const chunk of stream) {
      const first = (4096 - (at % 4096)) % 4096;
      const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      for (let i = first; i + 4 <= chunk.byteLength; i += 4096) {
        if (view.getUint32(i, true) !== (at + i) / 4) wrong += 1;
      }
      at += chunk.byteLength;
    }
    return { bytes: at - start, wrong };
  };
  const code = (work) => work.then(() => "done", (error) => error.code ?? error.message);
  const refused = async (store) => {
    await store.put("large", source(2 * MIB));
    await store.put("value", { a: 1 });
    let n = 0;
    const breaks = new ReadableStream({ pull(controller) {
      if (n++ > 3) throw new TypeError("the source broke");
      controller.enqueue(new Uint8Array(MIB));
    } });
    const text = new ReadableStream({ start(c) { c.enqueue("text"); c.close(); } });
    const ranges = [{ start: 0, end: 2 * MIB + 1 }, { start: 5, end: 4 }, { start: -1, end: 4 },
      { start: 0.5, end: 4 }];
    const cut = (range) => code(store.stream("large", { range }));
    return { ranges: await Promise.all(ranges.map(cut)),
      value: await code(store.stream("value")), none: (await store.stream("none")) === undefined,
      broken: await code(store.put("broken", breaks)), text: await code(store.put("text", text)),
      left: [await store.has("broken"), await store.has("text")],
      tooLarge: await code(store.put("big", source(33 * MIB)).then(() => store.get("big"))) };
  };
  export default { async fetch(request, env) {
    const { store } = env.ISOLA;
    const { op, size, chunk } = await request.json();
    if (op === "refused") return Response.json(await refused(store));
    if (op === "whole") {
      const value = chunkAt(0, size);
      await store.put("whole", value);
      const found = await store.get("whole");
      let same = found.length === size;
      for (let i = 0; i < size; i += 1023) same &&= found[i] === value[i];
      const taken = await store.take("whole");
      return Response.json({ same, taken: taken.byteLength, left: await store.has("whole") });
    }
    await store.put("large", source(size, chunk));
    if (op === "answer") return new Response(await store.stream("large"));
    const { sizeBytes } = await store.stat("large");
    const range = { start: 8192, end: 8192 + 3 * MIB };
    return Response.json({ sizeBytes, read: await check(await store.stream("large")),
      range: await check(await store.stream("large", { range }), range.start) });
  } };`;

const platform = usePlatform({ cells: 1 });

async function call(input: object): Promise<unknown> {
  const answer = await platform().call("streams", { json: input, withinMs: 300_000 });
  expect(answer.status, answer.text.slice(0, 500)).toBe(200);
  return answer.json;
}

function residentBytes(pid: number): number {
  const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${String(pid)}/status`, "utf8")) ?? [];
  return Number(kib) * 1024;
}

/** The most that a process grows while `work` runs. */
async function growthDuring(pid: number, work: () => Promise<void>): Promise<number> {
  const before = residentBytes(pid);
  let highest = before;
  const timer = setInterval(() => {
    highest = Math.max(highest, residentBytes(pid));
  }, 25);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return highest - before;
}

beforeAll(async () => {
  await platform().deploy("streams", STREAMS, { timeoutMs: 300_000 });
});

describe("a large object of the store", () => {
  it("comes back as it went, whatever its size and the size of its pieces", async () => {
    for (const [size, chunk] of [
      [4 * MIB, MIB],
      [4 * MIB + 4, 65_536],
      [5 * MIB + 4, 73 * 4_096],
      [9 * MIB, 2 * MIB],
    ] as const) {
      expect(await call({ op: "round", size, chunk })).toEqual({
        sizeBytes: size,
        read: { bytes: size, wrong: 0 },
        range: { bytes: 3 * MIB, wrong: 0 },
      });
    }
    for (const size of [4, 65_536, MIB, MIB + 4, 9 * MIB, 31 * MIB]) {
      expect(await call({ op: "whole", size })).toEqual({ same: true, taken: size, left: false });
    }
  });

  it("is refused by code, and what broke on its way is not stored", async () => {
    const { ranges, ...rest } = (await call({ op: "refused" })) as { ranges: string[] };
    expect(rest).toEqual({
      value: "RANGE_INVALID",
      none: true,
      broken: "the source broke",
      text: "VALUE_INVALID",
      left: [false, false],
      tooLarge: "BODY_TOO_LARGE",
    });
    expect(ranges.slice(0, 2)).toEqual(["RANGE_INVALID", "RANGE_INVALID"]);
    for (const code of ranges) expect(["RANGE_INVALID", "VALUE_INVALID"]).toContain(code);
  });

  it("is given up with its job by a client that leaves in the middle", async () => {
    const body = JSON.stringify({ op: "answer", size: 64 * MIB });
    const headers = { "content-type": "application/json" };
    const { request, response } = platform().http.open("/function/streams", {
      method: "POST",
      headers,
    });
    request.end(body);
    const answer = await response;
    await once(answer, "data");
    const callJobs = async (): Promise<number> =>
      (await platform().client.store.jobs()).items.filter(({ kind }) => kind === "call").length;
    expect(await callJobs()).toBe(1);
    answer.destroy();
    await until(async () => (await callJobs()) === 0);
  });

  it("of 100 MB and of 1 GiB passes at constant memory", async () => {
    const { pid } = await cellOf(platform(), 0);
    if (pid === undefined) throw new Error("the cell has no process");
    // Once before, so that what the first large object makes for good is there.
    await call({ op: "round", size: 64 * MIB });
    for (const size of [100 * MIB, 1024 * MIB]) {
      const growth = await growthDuring(pid, async () => {
        const found = (await call({ op: "round", size })) as { sizeBytes: number; read: unknown };
        expect([found.sizeBytes, found.read]).toEqual([size, { bytes: size, wrong: 0 }]);
      });
      expect(growth, `${String(size / MIB)} MiB`).toBeLessThan(GROWTH_MAX_BYTES);
    }
  }, 240_000);
});

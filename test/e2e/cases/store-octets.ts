/** Octets of the store above one message: whole, streamed, taken, and as the answer of a call. */
import { expect } from "vitest";
import { until } from "../../support/until.ts";
import type { CaseGroup } from "./case.ts";

const MIB = 1024 * 1024;

const OCTETS = `
  const octets = (size) => {
    const made = new Uint8Array(size);
    for (let i = 0; i < size; i += 997) made[i] = i % 251;
    return made;
  };
  const same = (found, size) => {
    const value = octets(size);
    return found?.length === size && value.every((octet, i) => i % 997 !== 0 || found[i] === octet);
  };
  const joined = async (stream) => new Uint8Array(await new Response(stream).arrayBuffer());
  export default { async fetch(request, env) {
    const { store } = env.ISOLA;
    const { op, size } = await request.json();
    if (op === "answer") {
      await store.put("k", new Response(octets(size)).body);
      return new Response(await store.stream("k"), { headers: { "x-own": "1" } });
    }
    if (op === "answer-whole") {
      await store.put("k", octets(size));
      return new Response(await store.get("k"));
    }
    await store.put("k", octets(size));
    await store.put("streamed", new Response(octets(size)).body);
    const range = { start: Math.floor(size / 3), end: Math.floor(size / 3) * 2 };
    const cut = await joined(await store.stream("k", { range }));
    return Response.json({
      sizes: [(await store.stat("k")).sizeBytes, (await store.stat("streamed")).sizeBytes],
      get: same(await store.get("k"), size),
      stream: same(await joined(await store.stream("k")), size),
      streamed: same(await store.get("streamed"), size),
      range: cut.length === range.end - range.start &&
        octets(size).subarray(range.start, range.start + 2_000).every((octet, i) =>
          i >= cut.length || octet === cut[i]),
      taken: same(await store.take("k"), size), left: await store.has("k"),
      takenStream: same(await joined(await store.stream("streamed", { take: true })), size),
    });
  } };`;

export const storeOctetCases: CaseGroup = {
  topic: "octets of the store",
  prepare: async (platform) => {
    await platform.deploy("octets", OCTETS);
  },
  cases: {
    "are what they were, whole, in ranges, streamed and taken": async (platform) => {
      for (const size of [300, 70_000, MIB, MIB + 1, 3 * MIB + 17]) {
        const answer = await platform.call("octets", { json: { size } });
        expect([size, answer.json]).toEqual([
          size,
          {
            sizes: [size, size],
            get: true,
            stream: true,
            streamed: true,
            range: true,
            taken: true,
            left: false,
            takenStream: true,
          },
        ]);
      }
    },

    "are an answer whose stream keeps the job until it is read": async (platform) => {
      for (const op of ["answer", "answer-whole"]) {
        const answer = await platform.call("octets", { json: { op, size: 5 * MIB } });
        expect([op, answer.status, answer.bytes.length]).toEqual([op, 200, 5 * MIB]);
        expect(answer.bytes[997 * 5_000]).toBe((997 * 5_000) % 251);
        if (op === "answer") expect(answer.headers["x-own"]).toBe("1");
      }
      await until(async () => {
        const { items } = await platform.client.store.jobs();
        return items.every(({ kind }) => kind !== "call");
      });
    },
  },
};

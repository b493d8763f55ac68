/**
 * A store on a disk that fills up: puts are refused whole before SQLite is, calls and what was
 * promised go on, and with space everything does. Then somebody else fills the disk at once.
 */
import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StoreJobClient } from "../../runtime/client/index.ts";
import { IsolaError } from "../../runtime/contract/index.ts";
import { answersAgain, killCell } from "../support/cells.ts";
import { countOutcomes, keepCalling } from "../support/load.ts";
import { type TestPlatform, startTestPlatform } from "../support/platform.ts";
import { smallDisk } from "../support/small-disk.ts";
import { until } from "../support/until.ts";

const MIB = 1024 * 1024;
const disk = smallDisk(96);
let started: TestPlatform | undefined;

beforeAll(async () => {
  if (disk.unmounted === undefined) {
    started = await startTestPlatform({ cells: 1, parentFolder: disk.folder });
    await started.deploy("hello", "export default () => 1;");
  }
}, 30_000);
afterAll(async () => {
  await started?.stop();
  disk.remove();
});

function platform(): TestPlatform {
  if (!started) throw new Error("the platform has not started");
  return started;
}

async function newJob(name: string): Promise<StoreJobClient> {
  const { store } = platform().client;
  return store.job((await store.createJob({ name })).id);
}

async function codeOf(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return "NONE";
  } catch (thrown) {
    return thrown instanceof IsolaError ? thrown.code : String(thrown);
  }
}

const octets = (sizeBytes: number, fillWith: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array(sizeBytes).fill(fillWith);

describe.skipIf(disk.unmounted !== undefined)("a store whose disk is full", () => {
  it("refuses before SQLite does, keeps what it has, and goes on with space", async () => {
    const job = await newJob("grows");
    const bucket = job.bucket();
    const load = keepCalling(platform(), "/function/hello", 2);
    let stored = 0;
    let refused = "NONE";
    while (refused === "NONE" && stored < 200) {
      const body = octets(MIB, stored % 251);
      refused = await codeOf(() => bucket.put(`k${String(stored)}`, body, { durability: "disk" }));
      if (refused === "NONE") stored += 1;
    }
    expect(refused).toBe("DISK_FULL");
    expect(stored).toBeGreaterThan(20);
    // SQLite itself has never been refused: what is left is the reserve.
    expect(disk.freeBytes()).toBeGreaterThan(2 * MIB);
    const small = (key: string) => bucket.put(key, octets(10, 1), { durability: "disk" });
    expect(await codeOf(() => small("small"))).toMatch(/DISK_FULL|NONE/);
    expect(await codeOf(() => bucket.put("memory", octets(10, 1)))).toBe("NONE");
    for (const at of [0, stored - 1]) {
      const found = await (await bucket.get(`k${String(at)}`)).bytes();
      expect(Buffer.from(found).equals(octets(MIB, at % 251))).toBe(true);
    }
    expect(await bucket.stat(`k${String(stored)}`)).toBeUndefined();
    const answers = await load.stop();
    expect(countOutcomes(answers.answers)).toEqual({ "200": answers.answers.length });
    await job.end();
    const next = (await newJob("next")).bucket();
    await until(async () => {
      const code = await codeOf(() => next.put("k", octets(20 * MIB, 1), { durability: "disk" }));
      return code === "NONE";
    });
  }, 60_000);

  it("survives another's filling it at once: nothing half done, nothing lost", async () => {
    const bucket = (await newJob("surprised")).bucket();
    const kept = octets(1_000, 7);
    await bucket.put("kept", kept, { durability: "disk" });
    await bucket.put("memory", octets(1_000, 8));
    const filling = disk.fill();
    // Whatever the host has told by now: each is refused whole, in words that say why.
    const codes = new Set<string>();
    for (let at = 0; at < 20; at += 1) {
      const body = octets(at % 2 === 0 ? 60_000 : 300_000, at);
      codes.add(await codeOf(() => bucket.put(`new${String(at)}`, body, { durability: "disk" })));
    }
    expect([...codes].filter((code) => !/^(DISK_FULL|CELL_RESTARTING|NONE)$/.test(code))).toEqual(
      [],
    );
    expect(codes).toContain("DISK_FULL");
    expect((await platform().call("hello")).status).toBe(200);
    rmSync(filling);
    await until(
      async () => (await codeOf(() => bucket.put("after", kept, { persist: true }))) === "NONE",
    );
    expect(Buffer.from(await (await bucket.get("kept")).bytes()).equals(kept)).toBe(true);
    expect(await codeOf(async () => (await bucket.get("memory")).bytes())).toMatch(
      /NONE|VALUE_LOST/,
    );
    const { restarts } = (await platform().client.cells()).find(({ slot }) => slot === 0) ?? {};
    expect(restarts).toBe(0);
  }, 60_000);

  it("does not keep its cell from coming back: functions go on, the store follows", async () => {
    const bucket = (await newJob("restarted")).bucket();
    await bucket.put("kept", octets(1_000, 9), { durability: "disk" });
    const filling = disk.fill();
    const atMs = await killCell(platform(), 0);
    expect(await answersAgain(platform(), "hello", atMs)).toBeLessThan(10_000);
    expect(await codeOf(() => bucket.get("kept"))).toBe("DISK_FULL");
    rmSync(filling);
    await until(async () => (await codeOf(() => bucket.get("kept"))) === "NONE");
    expect(await (await bucket.get("kept")).bytes()).toEqual(octets(1_000, 9));
  }, 60_000);
});

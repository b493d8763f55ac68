/** A data directory whose disk is full: deploys fail whole, calls go on. */
import { appendFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { IsolaError } from "../../runtime/contract/index.ts";
import { type LoadReport, countOutcomes, keepCalling } from "../support/load.ts";
import { type TestPlatform, startTestPlatform } from "../support/platform.ts";
import { smallDisk } from "../support/small-disk.ts";

const HELLO = `export default () => "hello";`;
const disk = smallDisk(40);
let platform: TestPlatform | undefined;

beforeAll(async () => {
  if (disk.unmounted === undefined) {
    platform = await startTestPlatform({ cells: 1, parentFolder: disk.folder });
  }
}, 30_000);
afterAll(async () => {
  await platform?.stop();
  disk.remove();
});

async function codeOf(run: Promise<unknown>): Promise<string> {
  try {
    await run;
    return "NONE";
  } catch (error) {
    return error instanceof IsolaError ? error.code : String(error);
  }
}

/** Somebody else on the disk: a database that closes gives room back, and must not count on it. */
function grabWhatIsFreed(path: string): { stop(): void } {
  const timer = setInterval(() => {
    try {
      appendFileSync(path, Buffer.alloc(4_096));
    } catch {
      // Nothing was freed.
    }
  }, 1);
  const stop = (): void => {
    clearInterval(timer);
    rmSync(path, { force: true });
  };
  return { stop };
}

it.skipIf(disk.unmounted !== undefined)(
  "refuses what it cannot store, whole, while calls go on; with space it takes all",
  async () => {
    if (!platform) throw new Error("the platform has not started");
    const { client } = platform;
    await platform.deploy("hello", HELLO);
    const load = keepCalling(platform, "/function/hello", 4);
    const blobs = join(platform.dataDir, "blobs");
    const blobsBefore = readdirSync(blobs);
    const filling = disk.fill();
    expect(disk.freeBytes()).toBe(0);
    const grabber = grabWhatIsFreed(join(disk.folder, "grabbed"));
    const large = `${HELLO} // ${"x".repeat(100_000)}`;
    for (let round = 0; round < 2; round += 1) {
      expect(await codeOf(platform.deploy("hello", large))).toBe("DISK_FULL");
      expect(await codeOf(platform.deploy("another", large))).toBe("DISK_FULL");
      expect(await codeOf(client.secrets.put("LARGE", "v".repeat(60_000)))).toBe("DISK_FULL");
      // One commit that fails breaks whatever its actor has under way: each hears why.
      const names = Array.from({ length: 8 }, (_, at) => `LARGE_${String(at)}`);
      const puts = names.map((name) => codeOf(client.secrets.put(name, "v".repeat(60_000))));
      expect(new Set(await Promise.all(puts))).toEqual(new Set(["DISK_FULL"]));
      expect(await codeOf(client.tokens.create("read"))).toMatch(/NONE|DISK_FULL/);
      await sleep(300);
    }
    grabber.stop();
    expect((await client.list()).map(({ name, version }) => [name, version])).toEqual([
      ["hello", 1],
    ]);
    expect(await client.secrets.list()).toEqual([]);
    expect(readdirSync(blobs)).toEqual(blobsBefore);
    const during: LoadReport = await load.stop();
    expect(during.unanswered).toEqual([]);
    expect(countOutcomes(during.answers)).toEqual({ "200": during.answers.length });
    rmSync(filling);
    expect((await platform.deploy("hello", large)).version).toBe(2);
    await client.secrets.put("LARGE", "v".repeat(60_000));
    expect((await platform.call("hello")).json).toBe("hello");
  },
  60_000,
);

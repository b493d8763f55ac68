/** A data directory whose disk is full: deploys fail whole, calls go on. */
import { execFileSync } from "node:child_process";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statfsSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { IsolaError } from "../../runtime/contract/index.ts";
import { type LoadReport, countOutcomes, keepCalling } from "../support/load.ts";
import { type TestPlatform, startTestPlatform } from "../support/platform.ts";

const HELLO = `export default () => "hello";`;
const disk = mkdtempSync(join(tmpdir(), "isola-disk-"));
const unmounted = mount();
let platform: TestPlatform | undefined;

/** Why the small disk cannot be had; undefined if it can. */
function mount(): string | undefined {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=40m,mode=755", "tmpfs", disk]);
    return undefined;
  } catch (error) {
    return String(error);
  }
}

if (unmounted !== undefined) {
  process.stdout.write(`disk-full tests are skipped: no tmpfs can be mounted (${unmounted})\n`);
}

beforeAll(async () => {
  if (unmounted === undefined) {
    platform = await startTestPlatform({ cells: 1, parentFolder: disk });
  }
}, 30_000);
afterAll(async () => {
  await platform?.stop();
  if (unmounted === undefined) execFileSync("umount", ["-l", disk]);
  rmSync(disk, { recursive: true, force: true });
});

function freeBytes(): number {
  const { bavail, bsize } = statfsSync(disk);
  return bavail * bsize;
}

/** Writes until nothing is left. */
function fill(): string {
  const path = join(disk, "filling");
  const file = openSync(path, "a");
  try {
    while (freeBytes() > 0) writeSync(file, Buffer.alloc(4_096));
  } catch {
    // Full, which was the aim.
  } finally {
    closeSync(file);
  }
  return path;
}

async function codeOf(run: Promise<unknown>): Promise<string> {
  try {
    await run;
    return "NONE";
  } catch (error) {
    return error instanceof IsolaError ? error.code : String(error);
  }
}

it.skipIf(unmounted !== undefined)(
  "refuses what it cannot store, whole, while calls go on; with space it takes all",
  async () => {
    if (!platform) throw new Error("the platform has not started");
    const { client } = platform;
    await platform.deploy("hello", HELLO);
    const load = keepCalling(platform, "/function/hello", 4);
    const blobs = join(platform.dataDir, "blobs");
    const blobsBefore = readdirSync(blobs);
    const filling = fill();
    expect(freeBytes()).toBe(0);
    const large = `${HELLO} // ${"x".repeat(100_000)}`;
    for (let round = 0; round < 2; round += 1) {
      expect(await codeOf(platform.deploy("hello", large))).toBe("DISK_FULL");
      expect(await codeOf(platform.deploy("another", large))).toBe("DISK_FULL");
      expect(await codeOf(client.secrets.put("LARGE", "v".repeat(60_000)))).toBe("DISK_FULL");
      expect(await codeOf(client.tokens.create("read"))).toMatch(/NONE|DISK_FULL/);
      await sleep(300);
    }
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

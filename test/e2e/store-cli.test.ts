/** `isola store`: every verb, files and pipes, and what wrong use gets. */
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ObjectInfo, StoreJobInfo, UsageReport } from "../../runtime/contract/index.ts";
import { killCell } from "../support/cells.ts";
import { type CommandResult, isola } from "../support/isola-command.ts";
import { type TestPlatform, startTestPlatform } from "../support/platform.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

let platform: TestPlatform;
beforeAll(async () => {
  platform = await startTestPlatform({ cells: 2, shards: 2 });
});
afterAll(() => platform.stop());

async function run(args: readonly string[], input = "", cwd?: string): Promise<CommandResult> {
  const env = { ISOLA_URL: platform.adminUrl, ISOLA_TOKEN: platform.adminToken };
  return isola(["store", ...args], { env, input, ...(cwd === undefined ? {} : { cwd }) });
}

async function ok(args: readonly string[], input?: string, cwd?: string): Promise<string> {
  const result = await run(args, input, cwd);
  expect(result, `isola store ${args.join(" ")}`).toMatchObject({ status: 0, stderr: "" });
  return result.stdout;
}

const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const json = async <T>(args: readonly string[]): Promise<T> =>
  JSON.parse(await ok([...args, "--json"])) as T;

async function newJob(...options: readonly string[]): Promise<string> {
  return (await ok(["create", "test", ...options])).trim();
}

describe("isola store", () => {
  it("makes, shows, lists and ends jobs", async () => {
    const job = await newJob("--durability", "disk", "--workflow", "w", "--capacity-mb", "3");
    expect(job).toMatch(/^[01]-[0-9a-f]{32}$/);
    const info = await json<StoreJobInfo>(["stat", job]);
    expect(info).toMatchObject({ id: job, name: "test", kind: "client", durability: "disk" });
    expect(info.expectedBytes).toBe(3 * 1024 * 1024);
    expect(await ok(["stat", job])).toMatch(/^job +\S+\nname +test\n[^]*TIER +BYTES[^]*cold/);
    const { items } = await json<{ items: StoreJobInfo[] }>(["jobs"]);
    expect(items.map(({ id }) => id)).toContain(job);
    expect(await ok(["jobs"])).toContain(job);
    expect(await ok(["end", job])).toBe(`ended store job ${job}\n`);
    const again = await run(["put", job, "k"], "late");
    expect(again).toMatchObject({ status: 1, stdout: "" });
    expect(again.stderr).toMatch(/\(JOB_ENDED\)\n {2}found: +.+\n {2}do: +.+/);
  });

  it("stores and reads by pipes and files, octet by octet", async () => {
    const folder = temporaryFolder({});
    const job = await newJob();
    const octets = randomBytes(3_000_000);
    writeFileSync(join(folder, "in.bin"), octets);
    expect(await ok(["put", job, "dir/in.bin", "in.bin"], "", folder)).toMatch(
      /^stored dir\/in\.bin \(version \d+\)\n$/,
    );
    await ok(["get", job, "dir/in.bin", "out.bin"], "", folder);
    expect(hash(readFileSync(join(folder, "out.bin")))).toBe(hash(octets));
    expect(existsSync(join(folder, "out.bin.partial"))).toBe(false);
    await ok(["put", job, "piped"], "line one\nline two\n");
    expect(await ok(["get", job, "piped"])).toBe("line one\nline two\n");
    expect(await ok(["get", job, "piped", "-", "--range", "5-7"])).toBe("one");
    expect(await ok(["get", job, "piped", "--range", "14-"])).toBe("two\n");
    expect(await ok(["get", job, "piped", "--range=-4"])).toBe("two\n");
    await ok(["put", job, "empty"], "");
    expect(await ok(["get", job, "empty"])).toBe("");
  });

  it("stores JSON that functions get as a value", async () => {
    const job = await newJob();
    await ok(["put", job, "v", "--as", "json"], '{ "a": [1, 2] }');
    expect(await ok(["get", job, "v"])).toBe('{"a":[1,2]}');
    expect(await json<ObjectInfo>(["stat", job, "v"])).toMatchObject({ kind: "value" });
    const wrong = await run(["put", job, "v", "--as", "json"], "{");
    expect(wrong).toMatchObject({ status: 2 });
    expect(wrong.stderr).toContain("no JSON");
  });

  it("takes conditions and times", async () => {
    const job = await newJob();
    await ok(["put", job, "k", "--ttl", "1h", "--idle", "10m", "--persist"], "1");
    const info = await json<ObjectInfo>(["stat", job, "k"]);
    expect(info).toMatchObject({ persist: true, durability: "disk", idleMs: 600_000 });
    expect(info.expiresAtMs).toBeGreaterThan(Date.now() + 3_500_000);
    expect(await ok(["stat", job, "k"])).toMatch(/expires +in 59m/);
    const there = await run(["put", job, "k", "--if-absent"], "2");
    expect(there).toMatchObject({ status: 1 });
    expect(there.stderr).toContain("(PRECONDITION_FAILED)");
    await ok(["put", job, "k", "--if-version", String(info.version)], "2");
    expect((await run(["put", job, "k", "--if-version", "1"], "3")).stderr).toContain("(PRECONDI");
    expect(await ok(["get", job, "k"])).toBe("2");
  });

  it("lists objects and buckets, and removes them", async () => {
    const job = await newJob();
    for (const key of ["a/1", "a/2", "b"]) await ok(["put", job, key], key);
    await ok(["put", job, "other", "--bucket", "second"], "1");
    const listed = await json<{ items: ObjectInfo[] }>(["list", job, "--prefix", "a/"]);
    expect(listed.items.map(({ key }) => key)).toEqual(["a/1", "a/2"]);
    expect((await ok(["list", job, "--limit", "1"])).split("\n")).toHaveLength(3);
    expect(await ok(["buckets", job])).toBe("default\nsecond\n");
    expect(await ok(["remove", job, "a/1"])).toBe("removed a/1\n");
    const gone = await run(["remove", job, "a/1"]);
    expect(gone).toMatchObject({ status: 1 });
    expect(gone.stderr).toContain("(OBJECT_NOT_FOUND)");
    const unnamed = await run(["remove", job]);
    expect(unnamed).toMatchObject({ status: 2 });
    expect(unnamed.stderr).toContain("neither a key nor --bucket");
    await ok(["remove", job, "--bucket", "second"]);
    expect(await ok(["list", job, "--bucket", "second"])).toBe("no objects\n");
  });

  it.each([
    [["get", "0-1", "k"], 1, "JOB_NOT_FOUND"],
    [["stat", `0-${"f".repeat(32)}`], 1, "JOB_NOT_FOUND"],
    [["put", `0-${"f".repeat(32)}`, "k", "no-such-file"], 2, "USAGE"],
    [["put", `0-${"f".repeat(32)}`, "k", "."], 2, "USAGE"],
    [["put", `0-${"f".repeat(32)}`, "k", "--ttl", "soon"], 2, "USAGE"],
    [["get", `0-${"f".repeat(32)}`, "k", "--range", "x"], 2, "USAGE"],
    [["get", `0-${"f".repeat(32)}`], 2, "USAGE"],
    [["create"], 2, "USAGE"],
    [["list", "x", "--limit", "0"], 2, "USAGE"],
    [["forget"], 2, "USAGE"],
  ] as const)("refuses %j with status %i", async (args, status, code) => {
    const result = await run(args);
    expect(result).toMatchObject({ status, stdout: "" });
    expect(result.stderr).toContain(`(${code})`);
    expect(result.stderr).toMatch(/\n {2}do: +\S/);
  });

  it("leaves what stood under a file's name when reading fails", async () => {
    const folder = temporaryFolder({ "kept.txt": "before" });
    const job = await newJob();
    expect((await run(["get", job, "none", "kept.txt"], "", folder)).status).toBe(1);
    expect(readFileSync(join(folder, "kept.txt"), "utf8")).toBe("before");
  });

  it("shows what a namespace stores in isola usage", async () => {
    const job = await newJob();
    await ok(["put", job, "k"], "x".repeat(1_000));
    const env = { ISOLA_URL: platform.adminUrl, ISOLA_TOKEN: platform.adminToken };
    const report = JSON.parse((await isola(["usage", "--json"], { env })).stdout) as UsageReport;
    expect(report.store.heldBytes).toBeGreaterThanOrEqual(1_000);
    const text = (await isola(["usage"], { env })).stdout;
    expect(text).toMatch(/STORE +NOW +MOST +GIB-H\nmemory +\S+[^]*operations +\d+/);
    const create = ["namespace", "create", "small", "--store-max-bytes", "500"];
    expect((await isola(create, { env })).status).toBe(0);
    const small = { ...env, ISOLA_NAMESPACE: "small" };
    const own = (await isola(["store", "create", "n"], { env: small })).stdout.trim();
    const input = "x".repeat(1_000);
    const refused = await isola(["store", "put", own, "k"], { env: small, input });
    expect(refused).toMatchObject({ status: 1 });
    expect(refused.stderr).toContain("(QUOTA_EXCEEDED)");
    expect((await isola(["namespace", "list"], { env })).stdout).toMatch(/small[^\n]* 500 B/);
  });

  it("names a shard that is down, and ends with a status that scripts see", async () => {
    await newJob();
    await killCell(platform, 1);
    const results: CommandResult[] = [];
    for (let attempt = 0; attempt < 10; attempt += 1) {
      const result = await run(["jobs"]);
      results.push(result);
      if (result.stderr !== "") break;
      await killCell(platform, 1).catch(() => undefined);
    }
    const last = results.at(-1);
    expect(last).toMatchObject({ status: 1 });
    expect(last?.stderr).toMatch(/^shard 1 of cell 1 is missing: /);
    expect(last?.stdout).toContain("JOB");
  });
});

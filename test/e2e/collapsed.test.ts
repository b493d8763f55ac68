/** The collapsed form itself: one port, an admin side by name, and the same code for Cloudflare. */
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it, onTestFinished } from "vitest";
import { isola } from "../support/isola-command.ts";
import { usePlatform } from "../support/platform.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { OTHER_ADMIN_HOST, ROOT, WRANGLER, wranglerEnvironment } from "../support/wrangler-dev.ts";

const run = promisify(execFile);

describe("one Worker under wrangler dev", () => {
  const platform = usePlatform({}, "collapsed");

  it("answers as the admin side under its own name only, and only with the token", async () => {
    const { http, adminToken } = platform();
    const port = new URL(platform().publicUrl).port;
    const bearer = { authorization: `Bearer ${adminToken}` };
    const status = async (host: string, headers: Record<string, string>) =>
      (await http.call("/v1/status", { headers: { host, ...headers } })).status;
    expect(await status(`admin.localhost:${port}`, bearer)).toBe(200);
    expect(await status(OTHER_ADMIN_HOST, bearer)).toBe(200);
    expect(await status(`${OTHER_ADMIN_HOST}.example`, bearer)).toBe(404);
    expect(await status(`admin.localhost:${port}`, {})).toBe(401);
    expect(await status(`admin.localhost:${port}`, { authorization: "Bearer x" })).toBe(401);
    expect(await status(`localhost:${port}`, bearer)).toBe(404);
    expect(await status(`admin.localhost.example:${port}`, bearer)).toBe(404);
    expect(await status(`x.admin.localhost:${port}`, bearer)).toBe(404);
    const forged = await http.call("/v1/status", {
      headers: { host: `localhost:${port}`, "x-forwarded-host": "admin.localhost", ...bearer },
    });
    expect(forged.status).toBe(404);
  });

  it("is operated by the same command line", async () => {
    const folder = temporaryFolder({
      "functions/hi.ts": `
        import type { Context } from "isola";
        export const config = { secrets: ["WORD"] };
        export default (name: string, ctx: Context) => {
          console.log("asked for", name);
          return ctx.env["WORD"] + " " + name;
        };`,
    });
    const env = {
      ISOLA_URL: platform().publicUrl.replace("127.0.0.1", "admin.localhost"),
      ISOLA_TOKEN: platform().adminToken,
    };
    const ok = async (args: readonly string[], input?: string): Promise<string> => {
      const options = { cwd: folder, env, ...(input === undefined ? {} : { input }) };
      const result = await isola(args, options);
      expect(result, args.join(" ")).toMatchObject({ status: 0 });
      return result.stdout;
    };
    await ok(["secret", "put", "WORD"], "hello");
    await ok(["deploy"]);
    expect(await ok(["list"])).toContain("hi");
    expect(await ok(["invoke", "hi", "--data", '"you"'])).toContain("hello you");
    expect(await ok(["logs", "hi"])).toContain("asked for you");
    expect(await ok(["usage"])).toContain("hi");
    expect(await ok(["status"])).toContain("collapsed");
  });

  it("enforces egress without a process of its own", async () => {
    const source = `export default async (url) => {
      try { return (await fetch(url)).status; } catch (error) { return error.message; }
    };`;
    await platform().deploy("closed", source, { egress: "none" });
    await platform().deploy("listed", source, { egress: ["allowed.example"] });
    await platform().deploy("public", source);
    const asked = async (name: string, url: string) =>
      String((await platform().call(name, { json: url })).json);
    expect(await asked("closed", "http://example.com/")).not.toMatch(/^\d+$/);
    expect(await asked("listed", "http://other.example/")).toContain("other.example");
    for (const url of ["http://127.0.0.1:1/", "http://169.254.169.254/", "http://[::1]/"]) {
      expect([url, await asked("public", url)]).toEqual([url, expect.stringMatching(/cannot/)]);
    }
    const itself = platform().publicUrl.replace("127.0.0.1", "localhost");
    expect(await asked("public", `${itself}/healthz`)).toMatch(/cannot/);
  });

  it("keeps what was deployed over a deploy that fails", async () => {
    await platform().deploy("stays", "export default () => 'one';");
    await expect(platform().deploy("stays", "throw new Error('at load')")).rejects.toMatchObject({
      code: "LOAD_FAILED",
    });
    expect((await platform().call("stays")).json).toBe("one");
  });
});

describe("wrangler deploy", () => {
  it("takes the Worker in a dry run, within Cloudflare's size", { timeout: 60_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "isola-dry-run-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const { stdout } = await run(
      process.execPath,
      [WRANGLER, "deploy", "--dry-run", "--outdir", join(folder, "out")],
      { cwd: ROOT, env: wranglerEnvironment(folder), timeout: 50_000 },
    );
    expect(stdout).toContain("--dry-run: exiting now.");
    expect(stdout).toMatch(/env\.LOADER/);
    expect(stdout).toMatch(/env\.REGISTRY/);
    const [, kib = "0"] = /gzip: ([\d.]+) KiB/.exec(stdout) ?? [];
    expect(Number(kib)).toBeGreaterThan(10);
    expect(Number(kib)).toBeLessThan(3 * 1024);
    expect(readdirSync(join(folder, "out"))).toContain("collapsed.js");
  });
});

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type CommandOptions, isola, startIsola } from "../support/isola-command.ts";
import { temporaryFolder, writeFiles } from "../support/temporary-folder.ts";

const HELLO = `
  export default async (input, ctx) => {
    ctx.log.warn("greeting " + (input?.name ?? "nobody"));
    return { hello: input?.name ?? "nobody", word: ctx.env.WORD ?? null, key: ctx.env.KEY ?? null };
  };`;
const ANSWER = (text: string) => `export default { fetch: () => new Response("${text}\\n") };`;

/** A platform on free ports in a folder of its own, and how to run commands against it. */
async function platform(files: Readonly<Record<string, string>>) {
  const folder = temporaryFolder(files);
  const start = startIsola(["start", "--port", "0", "--admin-port", "0", "--cells", "1"], {
    cwd: folder,
  });
  const [, publicUrl = ""] = await start.said(/^public +(\S+)$/m);
  const [, adminUrl = ""] = await start.said(/^admin +(\S+)$/m);
  const run = async (args: readonly string[], options: CommandOptions = {}) =>
    isola(args, { cwd: folder, ...options });
  const ok = async (args: readonly string[], options: CommandOptions = {}) => {
    const result = await run(args, options);
    expect(result, `isola ${args.join(" ")}`).toMatchObject({ status: 0, stderr: "" });
    return result.stdout;
  };
  const json = async (args: readonly string[]): Promise<unknown> =>
    JSON.parse(await ok([...args, "--json"]));
  return { folder, start, publicUrl, adminUrl, run, ok, json };
}

describe("isola start", () => {
  it("answers at the addresses it prints, and drains on SIGTERM", async () => {
    const { folder, start, publicUrl, adminUrl, run } = await platform({});
    expect((await fetch(`${publicUrl}/readyz`)).status).toBe(200);
    expect((await fetch(`${adminUrl}/readyz`)).status).toBe(200);
    const second = await run(["start", "--port", "0", "--admin-port", "0"]);
    expect(second.status).toBe(1);
    expect(second.stderr).toContain("(DATA_IN_USE)");
    const port = new URL(publicUrl).port;
    const taken = await run(["start", "--data", "other", "--port", port, "--admin-port", "0"]);
    expect(taken.status).toBe(1);
    expect(taken.stderr).toContain("(PORT_IN_USE)");
    start.child.kill("SIGTERM");
    expect(await start.ended).toBe(0);
    await expect(fetch(`${publicUrl}/readyz`)).rejects.toThrow("fetch failed");
    const stopped = await run(["status"]);
    expect(stopped.status).toBe(3);
    expect(folder).toBeTruthy();
  });

  it("drains calls on the first signal and ends at once on a second", async () => {
    const { start, publicUrl, ok } = await platform({
      "functions/slow.js":
        "export default (ms) => new Promise((done) => setTimeout(() => done(ms), ms));",
    });
    await ok(["deploy"]);
    const call = async (ms: number) =>
      (await fetch(`${publicUrl}/function/slow`, { method: "POST", body: String(ms) })).status;
    expect(await call(1)).toBe(200);
    const calls = [call(1_500), call(60_000)].map((each) => each.catch(() => "broken off"));
    await new Promise((resume) => setTimeout(resume, 300));
    start.child.kill("SIGTERM");
    start.child.kill("SIGTERM");
    expect(await calls[0]).toBe(200);
    expect(start.child.exitCode).toBe(null);
    start.child.kill("SIGTERM");
    expect(await start.ended).toBe(130);
    expect(await calls[1]).toBe("broken off");
    await expect(fetch(`${publicUrl}/readyz`)).rejects.toThrow("fetch failed");
  });

  it("deploys a folder and prints where each function answers", async () => {
    const folder = temporaryFolder({
      "fns/hello.js": HELLO,
      "fns/page/index.ts": ANSWER("page"),
      "isola.toml": '[functions.hello]\nenv = { WORD = "from the file" }\n',
    });
    const flags = ["--port", "0", "--admin-port", "0", "--cells", "1", "--dir", "fns"];
    const start = startIsola(["start", ...flags], { cwd: folder });
    const [, hello = ""] = await start.said(/^hello v1 deployed.* (http\S+)$/m);
    const [, page = ""] = await start.said(/^page v1 deployed.* (http\S+)$/m);
    expect(await (await fetch(hello)).json()).toMatchObject({ word: "from the file" });
    expect(await (await fetch(page)).text()).toBe("page\n");
    expect((await isola(["stop"], { cwd: folder })).status).toBe(0);
    expect(await start.ended).toBe(0);
  });
});

describe("verbs on functions", () => {
  it("deploy, list, describe, call, roll back, promote and remove", async () => {
    const { folder, publicUrl, ok, json, run } = await platform({
      "functions/hello.js": HELLO,
      "functions/page.ts": ANSWER("one"),
    });
    const dry = await ok(["deploy", "--dry-run"]);
    expect(dry).toMatch(/^hello v1 would be deployed: data/m);
    expect(await json(["list"])).toEqual({ items: [] });
    const deployed = await ok(["deploy", "--env", "WORD=flag"]);
    expect(deployed).toMatch(/^hello v1 deployed: data, .*v1 100%/m);
    expect(deployed).toContain(`  ${publicUrl}/function/page`);
    expect(await ok(["deploy", "functions/hello.js", "--env", "WORD=flag"])).toContain("unchanged");
    expect(await ok(["list"])).toMatch(/^NAME +VERSION[^]*^hello +1 +data[^]*^page +1 +http/m);
    expect(await json(["describe", "hello"])).toMatchObject({
      name: "hello",
      version: 1,
      config: { env: { WORD: "flag" } },
    });
    expect(await ok(["describe", "hello"])).toContain(`${publicUrl}/function/hello`);

    const called = await ok(["invoke", "hello", "--data", '{"name":"Ann"}']);
    expect(JSON.parse(called)).toEqual({ hello: "Ann", word: "flag", key: null });
    const piped = await ok(["invoke", "hello", "-"], { input: '{"name":"Bob"}' });
    expect(JSON.parse(piped)).toMatchObject({ hello: "Bob" });
    writeFiles(folder, { "input.json": '{"name":"Cy"}' });
    const fromFile = await ok(["invoke", "hello", "--data-file", "input.json", "--include"]);
    expect(fromFile).toMatch(/^200[^]*x-call-id: [^]*\{"hello":"Cy"/);

    writeFiles(folder, { "functions/page.ts": ANSWER("two") });
    expect(await ok(["deploy", "functions/page.ts"])).toMatch(/^page v2 deployed/);
    expect(await ok(["invoke", "page"])).toBe("two\n");
    expect(await ok(["rollback", "page"])).toContain("v1 100%");
    expect(await ok(["invoke", "page"])).toBe("one\n");
    expect(await ok(["promote", "page", "2", "--traffic", "30"])).toContain("v2 30%");
    expect(await json(["versions", "page"])).toMatchObject({
      items: expect.arrayContaining([
        expect.objectContaining({ version: 1, percent: 70 }),
        expect.objectContaining({ version: 2, percent: 30 }),
      ]) as unknown,
    });
    expect(await ok(["release", "page"])).toContain("released page");
    expect(await ok(["remove", "page"])).toContain("removed page");
    const gone = await run(["invoke", "page"]);
    expect(gone).toMatchObject({ status: 1, stdout: "" });
    expect(gone.stderr).toContain("(FUNCTION_NOT_FOUND)");
    const unknown = await run(["describe", "page", "--json"]);
    expect(unknown.status).toBe(1);
    expect(JSON.parse(unknown.stderr)).toMatchObject({ error: { code: "FUNCTION_NOT_FOUND" } });
  });

  it("deploy every kind of module that a function may import", async () => {
    // (module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
    const add = Buffer.from(
      "0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b",
      "hex",
    );
    const { folder, ok } = await platform({
      "functions/kinds/index.tsx": `
        import add from "./add.wasm";
        import bytes from "./three.bin";
        import text from "./note.txt";
        import data from "./data.json";
        import { basename } from "path";
        import old from "old-package";
        import { part } from "./part";
        const h = (tag: string, _: null, child: string) => "<" + tag + ">" + child;
        /** @jsx h */
        export default async () => {
          const { exports } = await WebAssembly.instantiate(add);
          return {
            sum: (exports.add as (a: number, b: number) => number)(2, 3),
            bytes: new Uint8Array(bytes).length,
            text, data, part,
            base: basename("/a/b.txt"),
            old: old("/c/d.txt"),
            tag: <b>bold</b>,
          };
        };`,
      "functions/kinds/part.ts": "export const part = 7;",
      "functions/kinds/note.txt": "a note",
      "functions/kinds/data.json": '{"some":["data"]}',
      "node_modules/old-package/package.json": '{"main":"main.js"}',
      "node_modules/old-package/main.js":
        'const path = require("path"); module.exports = (p) => path.basename(p);',
    });
    writeFiles(folder, {
      "functions/kinds/add.wasm": add,
      "functions/kinds/three.bin": Uint8Array.from([1, 2, 255]),
    });
    expect(await ok(["deploy"])).toMatch(/^kinds v1 deployed/);
    expect(JSON.parse(await ok(["invoke", "kinds"]))).toEqual({
      sum: 5,
      bytes: 3,
      text: "a note",
      data: { some: ["data"] },
      part: 7,
      base: "b.txt",
      old: "d.txt",
      tag: "<b>bold",
    });
  });

  it("deploy nothing if one does not build, and say where", async () => {
    const { json, run } = await platform({
      "functions/a.js": ANSWER("a"),
      "functions/b.ts": "export default () => {\n  return 1 +;\n};\n",
    });
    const { status, stderr } = await run(["deploy"]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/functions\/b\.ts:2:13: Unexpected ";"/);
    expect(stderr).toContain(">");
    expect(await json(["list"])).toEqual({ items: [] });
  });

  it("deploy what builds but does not load: nothing changes", async () => {
    const { folder, run, ok } = await platform({ "functions/a.js": ANSWER("a") });
    await ok(["deploy"]);
    writeFiles(folder, { "functions/a.js": 'throw new Error("at load"); export default 1;' });
    const { status, stderr } = await run(["deploy"]);
    expect(status).toBe(1);
    expect(stderr).toContain("(LOAD_FAILED)");
    expect(stderr).toContain("at load");
    expect(await ok(["invoke", "a"])).toBe("a\n");
    // Of a whole folder, the one that is wrong is named.
    writeFiles(folder, {
      "functions/a.js": ANSWER("a"),
      "functions/other.js": "export const config = { timeout: 1 }; export default () => 1;",
    });
    const wrong = await run(["deploy"]);
    expect(wrong.stderr).toContain('cannot deploy other: use option "timeout" (CONFIG_INVALID)');
  });
});

describe("verbs on what surrounds functions", () => {
  it("print logs, of the past and as they come", async () => {
    const { folder, ok } = await platform({ "functions/hello.js": HELLO });
    await ok(["deploy"]);
    await ok(["invoke", "hello", "--data", '{"name":"first"}']);
    const follow = startIsola(["tail", "hello", "--follow"], { cwd: folder });
    await follow.said(/hello v1 warn {2}greeting first/);
    await ok(["invoke", "hello", "--data", '{"name":"second"}']);
    await follow.said(/hello v1 warn {2}greeting second/);
    follow.child.kill("SIGINT");
    expect(await follow.ended).toBe(0);
    const past = await ok(["logs", "hello", "--since", "10m", "--json"]);
    const texts = past
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { text: string }).text);
    expect(texts).toEqual(["greeting first", "greeting second"]);
  });

  it("keep secrets out of arguments and out of sight", async () => {
    const source = HELLO.replace("export", "export const config = { secrets: ['KEY'] };\nexport");
    const { ok, run } = await platform({ "functions/hello.js": source });
    expect(await ok(["secret", "put", "KEY"], { input: "s3cr3t-value\n" })).not.toContain("s3cr3t");
    await ok(["deploy"]);
    expect(await ok(["secret", "list"])).toMatch(/^KEY +\d+ +hello/m);
    expect(await ok(["secret", "list", "--json"])).not.toContain("s3cr3t");
    expect(JSON.parse(await ok(["invoke", "hello"]))).toMatchObject({ key: "s3cr3t-value" });
    await ok(["remove", "hello"]);
    expect(await ok(["secret", "remove", "KEY"])).toContain("removed");
    expect((await run(["secret", "remove", "KEY"])).status).toBe(1);
  });

  it("make namespaces and tokens, and hold tokens to their role", async () => {
    const { folder, ok, run } = await platform({ "functions/a.js": ANSWER("a") });
    expect(await ok(["namespace", "create", "team"])).toContain("created namespace team");
    expect(await ok(["namespace", "list"])).toMatch(/^team +shared/m);
    await ok(["-n", "team", "deploy"]);
    expect(await ok(["invoke", "a", "-n", "team"])).toBe("a\n");

    const created = await run(["token", "create", "--role", "read", "-n", "team", "--label", "x"]);
    expect(created.stderr).toContain("not shown again");
    const token = created.stdout.trim();
    const env = { ISOLA_TOKEN: token, ISOLA_NAMESPACE: "team" };
    expect(await ok(["list"], { env })).toContain("a");
    const deploy = await run(["deploy"], { env });
    expect(deploy).toMatchObject({ status: 1 });
    expect(deploy.stderr).toContain("(ROLE_TOO_LOW)");
    const elsewhere = await run(["list"], { env: { ISOLA_TOKEN: token } });
    expect(elsewhere.status).toBe(1);
    const [, id = ""] = /^(\S+) +read +x/m.exec(await ok(["token", "list", "-n", "team"])) ?? [];
    await ok(["token", "revoke", id, "-n", "team"]);
    expect((await run(["list"], { env })).stderr).toContain("(TOKEN_INVALID)");
    const operator = readFileSync(join(folder, ".isola/admin-token"), "utf8").trim();
    expect((await run(["list"], { env: { ISOLA_TOKEN: operator } })).status).toBe(0);
    expect((await run(["list", "--token", "wrong"])).stderr).toContain("(TOKEN_INVALID)");

    const update = ["namespace", "update", "team", "--calls-per-second-max", "7"];
    expect(await ok(update)).toContain("changed namespace team");
    expect(await ok(["namespace", "list"])).toMatch(/^team +shared +1 +7/m);
    expect((await run(["namespace", "remove", "team"])).status).toBe(1);
    expect(await ok(["namespace", "remove", "team", "--force"])).toContain("removed");
  });

  it("show usage, cells and status, and restart a cell", async () => {
    const { adminUrl, publicUrl, ok, json } = await platform({ "functions/a.js": ANSWER("a") });
    await ok(["deploy"]);
    await ok(["invoke", "a"]);
    await expect
      .poll(async () => ok(["usage", "--since", "24h"]), { timeout: 10_000, interval: 200 })
      .toMatch(/^a +1 +0/m);
    expect(await ok(["cells"])).toMatch(/^ *0 +shared +- +up/m);
    const before = (await json(["cells"])) as { items: { slot: number; pid: number }[] };
    expect(await ok(["cells", "restart", "0"])).toContain("restarted cell 0");
    const after = (await json(["cells"])) as typeof before;
    const pidOf = ({ items }: typeof before) => items.find(({ slot }) => slot === 0)?.pid;
    expect(pidOf(after)).not.toBe(pidOf(before));
    expect(await ok(["invoke", "a"])).toBe("a\n");
    expect(await json(["status"])).toMatchObject({ adminUrl, publicUrl, form: "host" });
    expect(await ok(["status"])).toMatch(/^functions +1$/m);
    expect((await json(["doctor"])) as object).toHaveProperty("items");
  });
});

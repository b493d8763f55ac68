import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { isola, startIsola } from "../support/isola-command.ts";
import { temporaryFolder, writeFiles } from "../support/temporary-folder.ts";

const FLAGS = ["--port", "0", "--admin-port", "0", "--cells", "1"];
const textOf = async (url: string): Promise<string> => (await fetch(url)).text();

async function dev(files: Readonly<Record<string, string>>) {
  const folder = temporaryFolder(files);
  const running = startIsola(["dev", ...FLAGS], { cwd: folder });
  const [, publicUrl = ""] = await running.said(/^public +(\S+)$/m);
  await running.said(/^watching functions$/m);
  return { folder, running, at: (name: string) => `${publicUrl}/function/${name}` };
}

describe("isola dev", () => {
  it("redeploys what was saved, also through an import", async () => {
    const { folder, running, at } = await dev({
      "functions/a.ts": 'import { text } from "../lib/text.ts";\nexport default () => text;\n',
      "functions/b.ts": 'export default () => "b1";\n',
      "lib/text.ts": 'export const text = "a1";\n',
    });
    expect([await textOf(at("a")), await textOf(at("b"))]).toEqual(['"a1"', '"b1"']);
    writeFiles(folder, { "lib/text.ts": 'export const text = "a2";\n' });
    const [, took = ""] = await running.said(/^a v2 in (\d+) ms/m);
    expect(Number(took)).toBeLessThan(2_000);
    expect(await textOf(at("a"))).toBe('"a2"');
    expect(running.stdout()).not.toContain("b v2");
    writeFiles(folder, { "functions/c/index.ts": 'export default () => "c1";\n' });
    await running.said(/^c v1 in/m);
    expect(await textOf(at("c"))).toBe('"c1"');
  });

  it("shows a build error and keeps the old version until it is mended", async () => {
    const { folder, running, at } = await dev({ "functions/a.ts": 'export default () => "a1";\n' });
    writeFiles(folder, { "functions/a.ts": "export default () => {\n  return 1 +;\n};\n" });
    await running.said(/functions\/a\.ts:2:13: Unexpected ";"/);
    await running.said(/> 2 \| {3}return 1 \+;/);
    expect(await textOf(at("a"))).toBe('"a1"');
    writeFiles(folder, { "functions/a.ts": 'export default () => "a2";\n' });
    await running.said(/^a v2 in/m);
    expect(await textOf(at("a"))).toBe('"a2"');
  });

  it("removes a function whose file is gone", async () => {
    const { folder, running, at } = await dev({
      "functions/a.ts": 'export default () => "a1";\n',
      "functions/b.ts": 'export default () => "b1";\n',
    });
    rmSync(join(folder, "functions/a.ts"));
    await running.said(/^a removed$/m);
    expect((await fetch(at("a"))).status).toBe(404);
    expect(await textOf(at("b"))).toBe('"b1"');
  });

  it("follows isola.toml", async () => {
    const { folder, running, at } = await dev({
      "functions/a.ts": "export default (_: unknown, ctx: any) => ctx.env.WORD ?? null;\n",
    });
    expect(await textOf(at("a"))).toBe("null");
    writeFiles(folder, { "isola.toml": '[functions.a]\nenv = { WORD = "set" }\n' });
    await running.said(/^a v2 in/m);
    expect(await textOf(at("a"))).toBe('"set"');
    writeFiles(folder, { "isola.toml": "[functions.a]\ntimeot = 1\n" });
    await running.said(/unknown key "timeot"/);
    expect(await textOf(at("a"))).toBe('"set"');
  });

  it("prints log lines, with stacks that name the user's file", async () => {
    const { running, at } = await dev({
      "functions/a.ts": [
        "interface Input {",
        "  n: number;",
        "}",
        "export default (_: Input) => {",
        '  console.log("here");',
        '  throw new Error("broken");',
        "};",
      ].join("\n"),
    });
    const response = await fetch(at("a"));
    expect(response.status).toBe(500);
    expect(await response.text()).toContain("broken");
    await running.said(/a v1 info {2}here/);
    await running.said(/Error: broken\n +at [^\n]*[ (]functions\/a\.ts:6:\d+\)?\n/);
  });

  it("joins a platform that runs already, and leaves it running", async () => {
    const folder = temporaryFolder({ "functions/a.ts": 'export default () => "a1";\n' });
    const start = startIsola(["start", ...FLAGS], { cwd: folder });
    const [, publicUrl = ""] = await start.said(/^public +(\S+)$/m);
    const joined = startIsola(["dev"], { cwd: folder });
    await joined.said(/^joined /m);
    await joined.said(/^watching functions$/m);
    expect(await textOf(`${publicUrl}/function/a`)).toBe('"a1"');
    joined.child.kill("SIGINT");
    expect(await joined.ended).toBe(0);
    expect((await isola(["status"], { cwd: folder })).status).toBe(0);
    start.child.kill("SIGTERM");
    expect(await start.ended).toBe(0);
  });

  it("ends with everything it started", async () => {
    const { folder, running } = await dev({ "functions/a.ts": 'export default () => "a1";\n' });
    const pid = readFileSync(join(folder, ".isola/run/platform.pid"), "utf8");
    expect(JSON.parse(pid)).toMatchObject({ pid: running.child.pid });
    running.child.kill("SIGINT");
    expect(await running.ended).toBe(0);
    expect((await isola(["status"], { cwd: folder })).status).toBe(3);
  });
});

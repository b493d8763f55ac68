import { execFile } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { startIsola } from "../support/isola-command.ts";
import { temporaryFolder, writeFiles } from "../support/temporary-folder.ts";

const ROOT = join(import.meta.dirname, "../..");
const MANIFEST = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
  readonly version: string;
  readonly devDependencies: { readonly typescript: string };
};
const exec = promisify(execFile);

/** Settings of the npm that runs these tests are not those of the one that is tested. */
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(npm_|ISOLA_|NODE_|VITEST)/.test(name)),
);

async function run(cwd: string, file: string, ...args: string[]) {
  try {
    const { stdout, stderr } = await exec(file, args, { cwd, env, timeout: 150_000 });
    return { status: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, stdout, stderr };
  }
}

async function install(folder: string): Promise<void> {
  const packed = await run(ROOT, "npm", "pack", "--pack-destination", folder);
  expect(packed.status, packed.stderr).toBe(0);
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz")) ?? "";
  expect(tarball).toBe(`isola-${MANIFEST.version}.tgz`);
  const typescript = `typescript@${MANIFEST.devDependencies.typescript}`;
  const flags = ["--prefer-offline", "--no-audit", "--no-fund"];
  const installed = await run(folder, "npm", "install", ...flags, `./${tarball}`, typescript);
  expect(installed.status, installed.stderr).toBe(0);
}

describe("the packed package", () => {
  it("makes, types and runs a project in an empty folder", { timeout: 300_000 }, async () => {
    const folder = temporaryFolder();
    await install(folder);

    const made = await run(folder, "npx", "isola", "init");
    expect(made, made.stderr).toMatchObject({ status: 0 });
    expect(readdirSync(folder)).toEqual(expect.arrayContaining(["functions", "isola.toml"]));
    const again = await run(folder, "npx", "isola", "init");
    expect(again.status).toBe(1);
    expect(again.stderr).toContain("functions/hello.ts");
    const beside = await run(folder, "npx", "isola", "init", "http", "second");
    expect(beside.status).toBe(0);
    const manifest = readFileSync(join(folder, "second/package.json"), "utf8");
    expect(JSON.parse(manifest)).toMatchObject({
      dependencies: { isola: `file:${join(folder, `isola-${MANIFEST.version}.tgz`)}` },
    });

    const flows = await run(folder, "npx", "isola", "init", "workflow", "third");
    expect(flows.status, flows.stderr).toBe(0);

    writeFiles(folder, {
      "functions/welcome.ts": readFileSync(join(folder, "third/functions/welcome.ts"), "utf8"),
      "functions/page.ts": readFileSync(join(folder, "second/functions/hello.ts"), "utf8"),
      "functions/_client.ts":
        'import { IsolaClient } from "isola/client";\n' +
        'const client = new IsolaClient({ url: "http://127.0.0.1:8081" });\n' +
        "export const names = async () => (await client.list()).map(({ name }) => name);\n",
    });
    const typed = await run(folder, "npx", "tsc", "-p", ".");
    expect(typed, typed.stdout).toMatchObject({ status: 0 });
    writeFiles(folder, {
      "functions/_wrong.ts":
        'import type { FunctionConfig } from "isola";\n' +
        'export const config: FunctionConfig = { timeoutMs: "5s" };\n',
    });
    const refused = await run(folder, "npx", "tsc", "-p", ".");
    expect(refused.stdout).toContain("_wrong.ts(2,");

    const flags = ["--port", "0", "--admin-port", "0", "--cells", "1"];
    // Not through npx: it would not pass the signal on that ends a failed test.
    const program = [join(folder, "node_modules/.bin/isola")];
    const dev = startIsola(["dev", ...flags], { cwd: folder, program });
    const [, hello = ""] = await dev.said(/^hello v1 .*(http\S+)$/m);
    const [, page = ""] = await dev.said(/^page v1 .*(http\S+)$/m);
    const [, welcome = ""] = await dev.said(/^welcome v1 .*(http\S+)$/m);
    const headers = { "content-type": "application/json" };
    const greeted = await fetch(welcome, { method: "POST", headers, body: '{"names":["Eve"]}' });
    expect(await greeted.json()).toEqual(["Hello, Eve!"]);
    const response = await fetch(hello, { method: "POST", headers, body: '{"name":"Ann"}' });
    expect(await response.json()).toEqual({ greeting: "Hello, Ann!" });
    expect(await (await fetch(`${page}?name=Bob`)).text()).toBe("Hello, Bob!\n");
    await dev.said(/hello v1 info {2}greeting Ann/);

    const client = await run(
      folder,
      "node",
      "--input-type=module",
      "-e",
      'import { IsolaClient } from "isola/client"; console.log(typeof IsolaClient);',
    );
    expect(client).toMatchObject({ status: 0, stdout: "function\n" });
    const stopped = await run(folder, "npx", "isola", "stop");
    expect(stopped, stopped.stderr).toMatchObject({ status: 0 });
    expect(await dev.ended).toBe(0);
    const bench = await run(folder, "npx", "isola", "bench", "calls");
    expect(bench).toMatchObject({ status: 2 });
    expect(bench.stderr).toContain("a checkout of Isola");
  });
});

import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  bundleFunction,
  codeFrame,
  findFunctions,
  SourceMaps,
} from "../../runtime/cli/internal.ts";
import { IsolaError } from "../../runtime/contract/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

/** The smallest WebAssembly module: magic number and version. */
const WASM = Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
const NODE_MODULES = join(import.meta.dirname, "../../node_modules");

async function bundle(files: Readonly<Record<string, string | Uint8Array>>, main = "f.ts") {
  const folder = temporaryFolder(files);
  return bundleFunction({ name: "f", path: join(folder, main) });
}

async function failureOf(work: Promise<unknown>): Promise<IsolaError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof IsolaError) return error;
  throw new Error("no error of the catalogue", { cause: error });
}

const codeOf = (built: Awaited<ReturnType<typeof bundle>>): string =>
  built.bundle.modules[0]?.content ?? "";

async function namesIn(files: Readonly<Record<string, string>>) {
  const folder = temporaryFolder(files);
  return (await findFunctions(folder)).map(({ name, path }) => [
    name,
    path.slice(folder.length + 1),
  ]);
}

describe("a bundle", () => {
  it("is one ES module named for the function", async () => {
    const built = await bundle({ "f.ts": "export default (n: number): number => n + 1;" });
    expect(built.bundle.main).toBe("f.js");
    expect(built.bundle.modules.map(({ name, kind }) => [name, kind])).toEqual([["f.js", "js"]]);
    expect(codeOf(built)).toContain("as default");
    expect(codeOf(built)).not.toContain("sourceMappingURL");
  });

  it("is the same wherever the command runs", async () => {
    const files = {
      "f.ts": 'import { a } from "./a.ts"; export default () => a;',
      "a.ts": "export const a = 1;",
    };
    const [one, other] = [await bundle(files), await bundle(files)];
    expect(one.bundle).toEqual(other.bundle);
  });

  it("leaves isola, cloudflare: and node: to the platform", async () => {
    const built = await bundle({
      "f.ts": `
        import { errorCode } from "isola";
        import { WorkerEntrypoint } from "cloudflare:workers";
        import { join } from "path";
        import { Buffer } from "node:buffer";
        export default class extends WorkerEntrypoint {
          fetch() { return new Response(join("a", Buffer.from("b").toString()) + errorCode); }
        }`,
    });
    const imports = [...codeOf(built).matchAll(/from "([^"]+)"/g)].map((match) => match[1]);
    expect(new Set(imports)).toEqual(
      new Set(["cloudflare:workers", "isola", "node:buffer", "node:path"]),
    );
  });

  it("turns a package's require of a Node module into an import", async () => {
    const built = await bundle({
      "f.ts": 'import base from "old"; export default () => base("/a/b");',
      "node_modules/old/index.js":
        'const path = require("path"); module.exports = (p) => path.basename(p);',
      "node_modules/old/package.json": '{"name":"old","main":"index.js"}',
    });
    expect(codeOf(built)).toMatch(/import \w+ from "node:path"/);
  });

  it("prefers what packages have for workers", async () => {
    const built = await bundle({
      "f.ts": 'import where from "multi"; export default () => where;',
      "node_modules/multi/package.json":
        '{"name":"multi","exports":{"workerd":"./w.js","default":"./d.js"}}',
      "node_modules/multi/w.js": 'export default "in workerd";',
      "node_modules/multi/d.js": 'export default "elsewhere";',
    });
    expect(codeOf(built)).toContain("in workerd");
    expect(built.inputs.some((path) => path.includes("node_modules"))).toBe(false);
  });

  it("keeps WebAssembly and bytes as modules, and takes in text and JSON", async () => {
    const built = await bundle({
      "f.ts": `
        import add from "./add.wasm";
        import bytes from "./a.bin";
        import text from "./a.txt";
        import page from "./a.html";
        import query from "./a.sql";
        import data from "./a.json";
        export default () => [add, bytes, text, page, query, data];`,
      "add.wasm": WASM,
      "a.bin": Uint8Array.from([255, 0]),
      "a.txt": "some text",
      "a.html": "<p>page</p>",
      "a.sql": "a query",
      "a.json": '{"some":"data"}',
    });
    const separate = built.bundle.modules.slice(1).map(({ kind, content }) => [kind, content]);
    expect(Object.fromEntries(separate)).toEqual({
      data: Buffer.from([255, 0]).toString("base64"),
      wasm: Buffer.from(WASM).toString("base64"),
    });
    for (const { name } of built.bundle.modules.slice(1)) {
      expect(codeOf(built)).toContain(`"./${name}"`);
    }
    for (const inlined of ["some text", "<p>page</p>", "a query", 'some: "data"']) {
      expect(codeOf(built)).toContain(inlined);
    }
  });

  it("takes an unmodified Hono application, with JSX", async () => {
    const folder = temporaryFolder({
      "app.tsx": `
        /** @jsx jsx */
        import { Hono } from "hono";
        import { jsx } from "hono/jsx";
        const app = new Hono();
        app.get("/", (c) => c.html(<h1>hello</h1>));
        export default app;`,
    });
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(join(NODE_MODULES, "hono"), join(folder, "node_modules/hono"));
    const built = await bundleFunction({ name: "app", path: join(folder, "app.tsx") });
    expect(built.bundle.modules).toHaveLength(1);
    expect(built.bytes).toBeGreaterThan(10_000);
  });

  it("never evaluates what it bundles", async () => {
    const built = await bundle({ "f.ts": "process.exit(3); export default () => 1;" });
    expect(codeOf(built)).toContain("process.exit(3)");
  });

  it("has a map by which stacks name the user's file", async () => {
    const built = await bundle({
      "f.ts": [
        "interface A {",
        "  b: number;",
        "}",
        "export default (a: A) => {",
        "  throw new Error(String(a.b));",
        "};",
      ].join("\n"),
    });
    const lines = codeOf(built).split("\n");
    const line = lines.findIndex((text) => text.includes("throw new Error")) + 1;
    const column = (lines[line - 1] ?? "").indexOf("new Error") + 1;
    const maps = new SourceMaps();
    maps.add(built);
    const stack = maps.translate(`at f_default (f.js:${String(line)}:${String(column)})`);
    expect(stack).toMatch(/f\.ts:5:\d+\)$/);
    expect(maps.translate("at other.js:1:1")).toBe("at other.js:1:1");
  });
});

describe("a bundle that fails", () => {
  it("names file, line and column, and shows the place", async () => {
    const error = await failureOf(
      bundle({ "f.ts": "// ünï\nconst a = 1;\nexport default () => { return a +; };\n" }),
    );
    expect(error.code).toBe("BUILD_FAILED");
    expect(error.parts.location).toMatchObject({ line: 3, column: 34 });
    expect(error.parts.location?.file).toMatch(/f\.ts$/);
    expect(error.parts.found).toMatch(/f\.ts:3:34: Unexpected ";"/);
    expect(error.parts.found).toContain("> 3 | export default () => { return a +; };");
    expect(error.parts.found).toMatch(/\n {4}\| {34}\^$/m);
  });

  it("says which package is missing and how to get it", async () => {
    const error = await failureOf(
      bundle({ "f.ts": 'import a from "@scope/absent/deep"; export default () => a;' }),
    );
    expect(error.code).toBe("BUILD_FAILED");
    expect(error.parts.fix).toBe("npm install @scope/absent");
  });

  it("names a missing file at the import", async () => {
    const error = await failureOf(
      bundle({ "f.ts": 'import a from "./absent.wasm"; export default () => a;' }),
    );
    expect(error.parts.found).toContain('Could not resolve "./absent.wasm"');
    expect(error.parts.location).toMatchObject({ line: 1 });
  });

  it("has no default export", async () => {
    const error = await failureOf(bundle({ "f.ts": "export const a = 1;" }));
    expect(error.code).toBe("EXPORT_INVALID");
    expect(error.parts.found).toContain("exports a");
  });

  it("is too large", async () => {
    const error = await failureOf(
      bundle({
        "f.ts": 'import a from "./big.bin"; export default () => a;',
        "big.bin": new Uint8Array(32 * 1024 * 1024),
      }),
    );
    expect(error.code).toBe("BUNDLE_TOO_LARGE");
  });
});

describe("a code frame", () => {
  it("keeps tabs before the caret", () => {
    expect(codeFrame(["a", "\tb c"], 2, 4)).toBe("  1 | a\n> 2 | \tb c\n    | \t  ^");
  });
});

describe("a folder of functions", () => {
  it("gives files and folders with an index, and nothing else", async () => {
    const found = await namesIn({
      "b.ts": "",
      "a.tsx": "",
      "c/index.mjs": "",
      "c/part.ts": "",
      "helpers/x.ts": "",
      "_shared.ts": "",
      "_lib/index.ts": "",
      ".hidden.ts": "",
      "a.test.ts": "",
      "types.d.ts": "",
      "vite.config.ts": "",
      "readme.md": "",
      "node_modules/x/index.js": "",
    });
    expect(found).toEqual([
      ["a", "a.tsx"],
      ["b", "b.ts"],
      ["c", "c/index.mjs"],
    ]);
  });

  it.each([
    [{ "a.ts": "", "a/index.ts": "" }, "USAGE", "a.ts and"],
    [{ "Not_A_Label.ts": "" }, "NAME_INVALID", "Not_A_Label"],
    [{ "readme.md": "" }, "USAGE", "none"],
  ])("is refused: %j", async (files, code, found) => {
    const error = await failureOf(findFunctions(temporaryFolder(files)));
    expect(error.code).toBe(code);
    expect(error.parts.found).toContain(found);
  });

  it("takes another name for one function only", async () => {
    const folder = temporaryFolder({ "a.ts": "", "b/index.ts": "" });
    expect(await findFunctions(join(folder, "a.ts"), "z")).toMatchObject([{ name: "z" }]);
    expect(await findFunctions(join(folder, "b"))).toMatchObject([{ name: "b" }]);
    expect(await findFunctions(join(folder, "b/index.ts"))).toMatchObject([{ name: "b" }]);
    expect((await failureOf(findFunctions(folder, "z"))).code).toBe("USAGE");
    expect((await failureOf(findFunctions(join(folder, "absent.ts")))).code).toBe("USAGE");
  });
});

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LIMITS } from "../../runtime/contract/index.ts";
import { NS, ask, call, deploy, deployForm } from "../support/admin-requests.ts";
import { type GatewayProcess, startGateway } from "../support/gateway-process.ts";

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(async () => {
  await gateway.stop();
});

const answering = (text: string): string => `export default () => ${JSON.stringify(text)};`;

async function blobs(): Promise<string[]> {
  const names = await readdir(join(gateway.dataDir, "blobs"));
  return names.filter((name) => /^[0-9a-f]{64}$/.test(name));
}

describe("deploying", () => {
  it("answers calls with the new version at once, and names it", async () => {
    for (const version of [1, 2, 3]) {
      const deployed = await deploy(gateway, "counted", answering(`v${String(version)}`));
      expect(deployed.body).toMatchObject({ version, created: true, dryRun: false, form: "data" });
      expect(await call(gateway, "counted")).toMatchObject({
        status: 200,
        text: `"v${String(version)}"`,
      });
    }
  });

  it("makes a version of the same content live again instead of registering another", async () => {
    await deploy(gateway, "again", answering("one"));
    await deploy(gateway, "again", answering("two"));
    const third = await deploy(gateway, "again", answering("one"));
    expect(third.body).toMatchObject({ version: 1, created: false });
    expect((await call(gateway, "again")).text).toBe('"one"');
    const configured = await deploy(gateway, "again", answering("one"), {
      metadata: { config: { env: { A: "1" } } },
    });
    expect(configured.body).toMatchObject({ version: 3, created: true });
  });

  it("keeps modules of every kind", async () => {
    const wasm = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]);
    const main = `import text from "./a.txt"; import json from "./b.json";
      import data from "./c.bin";
      import wasm from "./d.wasm"; import { deep } from "./lib/deep.js";
      export default () => [text, json, [...new Uint8Array(data)],
        wasm instanceof WebAssembly.Module, deep];`;
    const form = deployForm({ main: "main.js" }, [
      { name: "main.js", content: main },
      { name: "a.txt", content: "téxt", type: "text/plain" },
      { name: "b.json", content: '{"b":1}', type: "application/json" },
      { name: "c.bin", content: new Uint8Array([0, 255]), type: "application/octet-stream" },
      { name: "d.wasm", content: wasm, type: "application/wasm" },
      { name: "lib/deep.js", content: "export const deep = 7;" },
    ]);
    const deployed = await ask(gateway, "PUT", `${NS}/functions/kinds`, { body: form });
    expect(deployed.text).toContain('"version":1');
    expect((await call(gateway, "kinds")).body).toEqual(["téxt", { b: 1 }, [0, 255], true, 7]);
  });

  it("registers nothing and leaves no bundle behind on a dry run", async () => {
    const before = await blobs();
    const code = answering("only looked at");
    const dry = await deploy(gateway, "dry", code, { query: "?dryRun=1" });
    expect(dry.body).toMatchObject({ version: 1, created: false, dryRun: true });
    expect(await blobs()).toEqual(before);
    expect((await call(gateway, "dry")).code).toBe("FUNCTION_NOT_FOUND");
    await deploy(gateway, "dry", code);
    const withIt = await blobs();
    await deploy(gateway, "dry", code, { query: "?dryRun=1" });
    expect(await blobs()).toEqual(withIt);
  });

  it("probes again under the date that the module itself names", async () => {
    const code = `export const config = { compatibilityDate: "2024-01-01", timeoutMs: 1234 };
      export default () => 1;`;
    const deployed = await deploy(gateway, "dated", code);
    expect(deployed.body?.["config"]).toMatchObject({
      compatibilityDate: "2024-01-01",
      timeoutMs: 1234,
    });
  });

  it("lets the request's configuration win over the module's", async () => {
    const code = `export const config = { timeoutMs: 1234, memoryMb: 64 };
      export default () => 1;`;
    const metadata = { config: { timeoutMs: 99 } };
    const deployed = await deploy(gateway, "layered", code, { metadata });
    expect(deployed.body?.["config"]).toMatchObject({ timeoutMs: 99, memoryMb: 64 });
  });

  it("runs deploys of one function one after the other", async () => {
    const texts = Array.from({ length: 8 }, (_, index) => `parallel ${String(index)}`);
    const answers = await Promise.all(
      texts.map((text) => deploy(gateway, "parallel", answering(text))),
    );
    const versions = answers.map((answer) => Number(answer.body?.["version"]));
    expect(versions.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    const last = texts[versions.indexOf(8)];
    expect((await call(gateway, "parallel")).text).toBe(JSON.stringify(last));
  });

  it("loses no function when many are deployed at once", async () => {
    const names = Array.from({ length: 20 }, (_, index) => `many-${String(index)}`);
    await Promise.all(names.map((name) => deploy(gateway, name, answering(name))));
    for (const name of names) expect((await call(gateway, name)).text).toBe(`"${name}"`);
  });
});

const put = (body: FormData) => ask(gateway, "PUT", `${NS}/functions/refused`, { body });
const main = { name: "main.js", content: answering("x") };
const zeros = (bytes: number) => ({
  name: "zeros.bin",
  content: new Uint8Array(bytes),
  type: "application/octet-stream",
});

describe("a deploy that is refused", () => {
  it.each([
    ["a syntax error", "export default (", "LOAD_FAILED"],
    ["a throw at top level", "throw new Error('at load'); export default 1;", "LOAD_FAILED"],
    ["no default export", "export const a = 1;", "EXPORT_INVALID"],
    ["a default export of no form", "export default 7;", "EXPORT_INVALID"],
    [
      "an unknown option",
      "export const config = { timeout: 1 }; export default () => 1;",
      "CONFIG_INVALID",
    ],
    [
      "a top level that never ends its wait",
      "await new Promise(() => {}); export default () => 1;",
      "LOAD_FAILED",
    ],
  ])("says why and registers nothing: %s", async (_what, code, expected) => {
    const before = await blobs();
    const refused = await deploy(gateway, "refused", code);
    expect(refused.code, refused.text).toBe(expected);
    expect(refused.headers.get("x-isola-error")).toBe(expected);
    expect(await blobs()).toEqual(before);
    expect((await ask(gateway, "GET", `${NS}/functions/refused`)).status).toBe(404);
  });

  it.each([
    ["a backend that is not there", { config: { backend: "container" } }, "BACKEND_UNAVAILABLE"],
    ["a secret that is not there", { config: { secrets: ["MISSING"] } }, "CONFIG_INVALID"],
    ["an option out of bounds", { config: { memoryMb: 1 } }, "CONFIG_INVALID"],
    [
      "an option named __proto__",
      JSON.parse('{"config":{"retry":{"__proto__":1}}}'),
      "CONFIG_INVALID",
    ],
    [
      "a variable named __proto__",
      JSON.parse('{"config":{"env":{"__proto__":1}}}'),
      "CONFIG_INVALID",
    ],
    [
      "more names than a list holds",
      { config: { secrets: Array(1_001).fill("A") } },
      "CONFIG_INVALID",
    ],
    ["a percentage over 100", { traffic: 101 }, "REQUEST_INVALID"],
    ["a field nobody knows", { trafic: 10 }, "REQUEST_INVALID"],
    ["a main that is not among the parts", { main: "other.js" }, "REQUEST_INVALID"],
  ])("says why: %s", async (_what, metadata, expected) => {
    const refused = await deploy(gateway, "refused", answering("x"), { metadata });
    expect(refused.code, refused.text).toBe(expected);
  });

  it.each(["Capital", "under_score", "-x", "x-", "a".repeat(64), "a.b"])(
    "says why: a name that is no DNS label (%s)",
    async (name) => {
      expect((await deploy(gateway, name, answering("x"))).code).toBe("NAME_INVALID");
    },
  );

  it.each(["../up.js", "/root.js", "a//b.js", "isola", "lib/isola", ""])(
    "says why: a module named %j",
    async (name) => {
      const refused = await put(deployForm({ main: "main.js" }, [main, { name, content: "" }]));
      expect(["REQUEST_INVALID", "INPUT_MALFORMED"]).toContain(refused.code);
    },
  );

  it("says why: parts of unknown type, doubled, missing, or no form at all", async () => {
    const odd = { name: "a.py", content: "", type: "text/x-python" };
    expect((await put(deployForm({ main: "main.js" }, [main, odd]))).code).toBe(
      "MEDIA_UNSUPPORTED",
    );
    expect((await put(deployForm({ main: "main.js" }, [main, main]))).code).toBe("REQUEST_INVALID");
    expect((await put(new FormData())).code).toBe("INPUT_MALFORMED");
    const json = { json: { main: "main.js" } };
    const notAForm = await ask(gateway, "PUT", `${NS}/functions/refused`, json);
    expect(notAForm.code).toBe("MEDIA_UNSUPPORTED");
    const torn = await ask(gateway, "PUT", `${NS}/functions/refused`, {
      body: '--x\r\ncontent-disposition: form-data; name="metadata"\r\n\r\n{',
      headers: { "content-type": "multipart/form-data; boundary=x" },
    });
    expect(torn.code).toBe("INPUT_MALFORMED");
  });

  it("says why: a bundle one byte over the limit, and takes one at the limit", async () => {
    const room = LIMITS.bundleMaxBytes - main.content.length;
    const over = await put(deployForm({ main: "main.js" }, [main, zeros(room + 1)]));
    expect(over.code).toBe("BUNDLE_TOO_LARGE");
    const far = await put(
      deployForm({ main: "main.js" }, [main, zeros(2 * LIMITS.bundleMaxBytes)]),
    );
    expect(far.code).toBe("BUNDLE_TOO_LARGE");
    const at = await put(deployForm({ main: "main.js" }, [main, zeros(room)]));
    expect(at.body, at.text.slice(0, 300)).toMatchObject({ bundleBytes: LIMITS.bundleMaxBytes });
  });
});

describe("versions and traffic", () => {
  it("splits, promotes and goes back", async () => {
    await deploy(gateway, "split", answering("1"));
    const second = await deploy(gateway, "split", answering("2"), { metadata: { traffic: 20 } });
    expect(second.body?.["traffic"]).toEqual([
      { version: 1, percent: 80 },
      { version: 2, percent: 20 },
    ]);
    const traffic = (json: object) =>
      ask(gateway, "PUT", `${NS}/functions/split/traffic`, { json });
    expect((await traffic({ version: 2 })).body).toMatchObject({ version: 2 });
    expect((await call(gateway, "split")).text).toBe('"2"');
    expect((await traffic({})).body).toMatchObject({ version: 1 });
    expect((await call(gateway, "split")).text).toBe('"1"');
    expect((await traffic({})).code).toBe("VERSION_NOT_FOUND");
    expect((await traffic({ version: 9 })).code).toBe("VERSION_NOT_FOUND");
    expect((await traffic({ version: 1, percent: 50 })).code).toBe("REQUEST_INVALID");
    const versions = await ask(gateway, "GET", `${NS}/functions/split/versions`);
    expect(versions.body?.["items"]).toMatchObject([
      { version: 2, percent: 0 },
      { version: 1, percent: 100 },
    ]);
  });

  it("collects idle versions and the bundles nobody names", async () => {
    const count = LIMITS.idleVersionsKept + 3;
    for (let index = 0; index < count; index++) {
      await deploy(gateway, "collected", answering(`collected ${String(index)}`));
    }
    const versions = await ask(gateway, "GET", `${NS}/functions/collected/versions`);
    const items = versions.body?.["items"] as { version: number; bundleHash: string }[];
    expect(items.map((item) => item.version)).toEqual(
      Array.from({ length: LIMITS.idleVersionsKept + 1 }, (_, index) => count - index),
    );
    await expect.poll(async () => (await blobs()).length).toBeGreaterThan(0);
    const removed = await ask(gateway, "DELETE", `${NS}/functions/collected`);
    expect(removed.status).toBe(204);
    const hashes = new Set(items.map((item) => item.bundleHash));
    await expect.poll(async () => (await blobs()).filter((hash) => hashes.has(hash))).toEqual([]);
    expect((await call(gateway, "collected")).code).toBe("FUNCTION_NOT_FOUND");
  });

  it("never gives a version number twice, not even to a function that came back", async () => {
    await deploy(gateway, "back", answering("first life"));
    await ask(gateway, "DELETE", `${NS}/functions/back`);
    const again = await deploy(gateway, "back", answering("second life"));
    expect(again.body).toMatchObject({ version: 2 });
    expect((await call(gateway, "back")).text).toBe('"second life"');
  });

  it("quarantines a convicted version until it is released or replaced", async () => {
    await deploy(gateway, "convict", answering("guilty"));
    for (let time = 0; time < LIMITS.convictionsToQuarantine; time++) {
      await gateway.control("/verdict", {
        slot: 99,
        cause: "MAX_BLOCK",
        suspects: [],
        convicted: "default/convict@1",
        atMs: Date.now(),
      });
    }
    await expect
      .poll(async () => (await call(gateway, "convict")).code)
      .toBe("FUNCTION_QUARANTINED");
    expect((await deploy(gateway, "convict", answering("guilty"))).code).toBe("CONFLICT");
    const released = await ask(gateway, "POST", `${NS}/functions/convict/release`);
    expect(released.body).toMatchObject({ quarantined: false });
    expect((await deploy(gateway, "convict", answering("innocent"))).body).toMatchObject({
      version: 2,
    });
    expect((await call(gateway, "convict")).text).toBe('"innocent"');
  });
});

/**
 * Secrets: usable, rotated without a deploy, and nowhere in clear but in the functions that name
 * them. The gateway's environment holds the key that seals them, by design: no cell's does.
 */
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { usePlatform } from "../support/platform.ts";
import { processesOf } from "../support/process-list.ts";

const FIRST = "first-value-1b7ad5c4e9";
const SECOND = "second-value-93fe02c6d8";
/** Characters that JSON, URLs and shells write in another way. */
const ODD = 'quoted "value" \\ of ünïcode-77a1';

const USES = `export default (input, ctx) => {
  if (input?.fail) throw new Error("without the value");
  return { token: ctx.env.TOKEN, odd: ctx.env.ODD };
};`;

const platform = usePlatform({ cells: 2 });

beforeAll(async () => {
  await platform().client.secrets.put("TOKEN", FIRST);
  await platform().client.secrets.put("ODD", ODD);
  await platform().deploy("uses", USES, { secrets: ["TOKEN", "ODD"] });
}, 30_000);

/** Every file below a folder; sockets and pipes have nothing to read. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());
}

/** In the spellings of JSON and base64 as well. */
function spellings(value: string): Buffer[] {
  const texts = [value, JSON.stringify(value).slice(1, -1), encodeURIComponent(value)];
  const base64 = [0, 1, 2].map((shift) =>
    Buffer.from(" ".repeat(shift) + value)
      .toString("base64")
      .slice(4, 20),
  );
  return [...texts, ...base64].map((text) => Buffer.from(text));
}

function findIn(bytes: Buffer): string[] {
  return [FIRST, SECOND, ODD].filter((value) =>
    spellings(value).some((spelling) => bytes.includes(spelling)),
  );
}

describe("a secret", () => {
  it("is in the environment of the functions that name it, and of no other", async () => {
    expect((await platform().call("uses")).json).toEqual({ token: FIRST, odd: ODD });
    await platform().deploy("other", USES);
    expect((await platform().call("other")).json).toEqual({});
    await platform().deploy("names", `export default (_, ctx) => Object.keys(ctx.env).sort();`, {
      secrets: ["TOKEN"],
    });
    expect((await platform().call("names")).json).toEqual(["TOKEN"]);
  });

  it("is rotated without a deploy: the next call has the new value, in every cell", async () => {
    const before = await platform().client.describe("uses");
    await platform().client.secrets.put("TOKEN", SECOND);
    const answers = await Promise.all(Array.from({ length: 24 }, () => platform().call("uses")));
    const tokens = new Set(answers.map(({ json }) => (json as { token: string }).token));
    expect(tokens).toEqual(new Set([SECOND]));
    const after = await platform().client.describe("uses");
    expect(after.version).toBe(before.version);
    for (let round = 0; round < 5; round += 1) {
      const value = round % 2 === 0 ? FIRST : SECOND;
      await platform().client.secrets.put("TOKEN", value);
      expect((await platform().call("uses")).json).toMatchObject({ token: value });
    }
  });

  it("is in no answer of the admin API, in no error, log or metric", async () => {
    const failed = await platform().call("uses?fail=1");
    const traceId = String(failed.headers["traceparent"]).split("-")[1] ?? "";
    const { client } = platform();
    const token = { authorization: `Bearer ${platform().adminToken}` };
    const paths = [
      "secrets",
      "functions",
      "functions/uses",
      "functions/uses/versions",
      "logs",
      "calls",
      `traces?trace=${traceId}`,
      "usage",
    ];
    const urls = [
      ...paths.map((path) => `/v1/namespaces/default/${path}`),
      "/v1/status",
      "/v1/cells",
      "/metrics",
    ];
    for (const path of urls) {
      const response = await fetch(client.url + path, { headers: token });
      expect(response.status, path).toBe(200);
      expect(findIn(Buffer.from(await response.arrayBuffer())), path).toEqual([]);
    }
    const refused = await fetch(`${client.url}/v1/namespaces/default/secrets/${"B".repeat(300)}`, {
      method: "PUT",
      headers: { ...token, "content-type": "application/json" },
      body: JSON.stringify({ value: FIRST, more: FIRST }),
    });
    expect(refused.status).toBe(400);
    expect(findIn(Buffer.from(await refused.text()))).toEqual([]);
    const [listed] = await client.secrets.list();
    expect(Object.keys(listed ?? {})).not.toContain("value");
  });

  it("is in no process's arguments, and in no environment", () => {
    const pids = processesOf(platform().dataDir);
    expect(pids.length).toBeGreaterThanOrEqual(5);
    const sealKey = readFileSync(`${platform().dataDir}.key`, "utf8").trim();
    for (const pid of pids) {
      const command = readFileSync(`/proc/${String(pid)}/cmdline`);
      const environment = readFileSync(`/proc/${String(pid)}/environ`);
      expect(findIn(Buffer.concat([command, environment]))).toEqual([]);
      expect(command.includes(sealKey)).toBe(false);
      const isGateway = command.includes("/workerd/gateway/");
      expect(environment.includes(sealKey), command.toString()).toBe(isGateway);
      expect(environment.includes(platform().adminToken)).toBe(isGateway);
    }
  });

  it("is in no file of the data directory in clear, nor is the key that seals it", async () => {
    await platform().client.secrets.put("TOKEN", FIRST);
    await platform().call("uses");
    const sealKey = readFileSync(`${platform().dataDir}.key`, "utf8").trim();
    const files = filesBelow(platform().dataDir);
    expect(files.length).toBeGreaterThan(8);
    for (const path of files) {
      const bytes = readFileSync(path);
      expect(findIn(bytes), path).toEqual([]);
      expect(bytes.includes(sealKey), path).toBe(false);
    }
  });

  it("is gone when removed: who names it cannot be deployed, the value is nowhere", async () => {
    await platform().client.secrets.put("SHORT", SECOND);
    await platform().client.secrets.remove("SHORT");
    const names = (await platform().client.secrets.list()).map(({ name }) => name);
    expect(names).not.toContain("SHORT");
    await expect(platform().deploy("orphan", USES, { secrets: ["SHORT"] })).rejects.toMatchObject({
      code: expect.stringMatching(/CONFIG_INVALID|NOT_FOUND/),
    });
  });
});

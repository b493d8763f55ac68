/** Spans, metrics, logs and usage of a platform as a user runs it. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import parsePrometheus from "parse-prometheus-text-format";
import { describe, expect, it, onTestFinished } from "vitest";
import { type RunningCommand, isola, startIsola } from "../support/isola-command.ts";
import { OtlpCollector, type ReceivedSpan } from "../support/otlp-collector.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const FUNCTIONS = {
  "functions/outer.ts": `export default async (input, ctx) => {
    console.log("outer got", { input });
    return ctx.call("inner", input);
  };`,
  "functions/inner.ts": `export default (input) => {
    console.warn("inner says", new Map([["input", input]]));
    return input * 2;
  };`,
};

const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

interface Started {
  readonly running: RunningCommand;
  readonly publicUrl: string;
  readonly adminUrl: string;
  readonly env: Readonly<Record<string, string>>;
}

async function startPlatform(env: Readonly<Record<string, string>> = {}): Promise<Started> {
  const folder = temporaryFolder(FUNCTIONS);
  const data = join(folder, "data");
  const args = ["start", "--port", "0", "--admin-port", "0", "--data", data, "--cells", "1"];
  const running = startIsola([...args, "--dir", "functions"], { cwd: folder, env });
  const [, publicUrl = ""] = await running.said(/public +(http\S+)/);
  const [, adminUrl = ""] = await running.said(/admin +(http\S+)/);
  await running.said(/outer v1 deployed/);
  return { running, publicUrl, adminUrl, env: { ISOLA_URL: adminUrl, ISOLA_DATA: data } };
}

async function callOuter({ publicUrl }: Started, traceparent = PARENT): Promise<void> {
  const url = `${publicUrl}/function/outer`;
  const headers = { traceparent, "content-type": "application/json" };
  const response = await fetch(url, { method: "POST", body: "21", headers });
  expect(await response.text()).toBe("42");
}

async function until<T>(read: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const endAtMs = Date.now() + 15_000;
  for (;;) {
    const found = await read();
    if (found !== undefined) return found;
    if (Date.now() > endAtMs) throw new Error("it did not come in time");
    await sleep(50);
  }
}

const attributeOf = (span: ReceivedSpan | undefined, key: string): unknown =>
  Object.values(span?.attributes.find((attribute) => attribute.key === key)?.value ?? {})[0];

describe("telemetry of a platform", () => {
  it("exports a call and its sub-call as one trace though it is quiet then", async () => {
    const collector = new OtlpCollector();
    await collector.listen();
    onTestFinished(() => collector.close());
    const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };
    const env = { ...endpoint, OTEL_EXPORTER_OTLP_HEADERS: "k=v" };
    const platform = await startPlatform(env);
    await callOuter(platform);
    const spans = await until(() => (collector.spans.length >= 2 ? collector.spans : undefined));
    const outer = spans.find((span) => attributeOf(span, "isola.function") === "outer");
    const inner = spans.find((span) => attributeOf(span, "isola.function") === "inner");
    expect(outer).toMatchObject({
      traceId: "0af7651916cd43dd8448eb211c80319c",
      parentSpanId: "b7ad6b7169203331",
      kind: 2,
    });
    expect(inner).toMatchObject({ traceId: outer?.traceId, parentSpanId: outer?.spanId });
    expect(collector.received[0]).toMatchObject({ path: "/v1/traces", headers: { k: "v" } });
    await callOuter(platform, PARENT.replace(/1$/, "0"));
    await callOuter(platform);
    platform.running.child.kill("SIGTERM");
    expect(await platform.running.ended).toBe(0);
    const roots = collector.spans.filter((span) => attributeOf(span, "isola.function") === "outer");
    expect(roots).toHaveLength(2);
  });

  it("shows calls of both kinds in metrics, logs and usage", async () => {
    const platform = await startPlatform();
    const following = startIsola(["logs", "outer", "--follow"], { env: platform.env });
    await callOuter(platform);
    await following.said(/outer got \{ input: 21 \}/);
    const logs = await until(async () => {
      const { stdout } = await isola(["logs", "inner"], { env: platform.env });
      return stdout === "" ? undefined : stdout;
    });
    expect(logs).toContain("inner says Map { 'input' => 21 }");
    const text = await (await fetch(`${platform.adminUrl}/metrics`)).text();
    const families = new Map(parsePrometheus(text).map((family) => [family.name, family.metrics]));
    const calls = families.get("gateway_function_invocation_total") ?? [];
    const counts = calls.map(({ labels, value }) => `${labels?.["function_name"]} ${value}`);
    expect(new Set(counts)).toEqual(new Set(["inner.default 1", "outer.default 1"]));
    expect(families.get("isola_cold_starts_total")?.[0]?.value).toBe("2");
    const usage = await isola(["usage", "--json"], { env: platform.env });
    const report = JSON.parse(usage.stdout) as { readonly functions: { function: string }[] };
    expect(report.functions.map((row) => row.function)).toEqual(["inner", "outer"]);
  });
});

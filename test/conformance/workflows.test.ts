/**
 * The code form against the engine that is bundled with workerd: the same class and the same use of
 * its binding, run on both, have the same outcome, but for the list of divergences.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleFunction } from "../../runtime/cli/internal.ts";
import { type TestPlatform, startTestPlatform } from "../support/platform.ts";
import type { RunningWorkerd } from "../support/workerd.ts";
import { startBundledEngine } from "./workflows/bundled-engine.ts";
import { CASES } from "./workflows/cases.ts";
import { DIVERGENCES } from "./workflows/divergences.ts";

let engine: RunningWorkerd;
let platform: TestPlatform;

beforeAll(async () => {
  [engine, platform] = await Promise.all([startBundledEngine(), startTestPlatform()]);
  await deploy("notes", "notes.worker.ts");
  await deploy("probe", "probe.worker.ts");
  await deploy("cases", "caller.worker.ts", { PROBE: "probe" });
}, 60_000);

afterAll(async () => {
  await Promise.all([engine.stop(), platform.stop()]);
});

async function deploy(
  name: string,
  file: string,
  workflows: Record<string, string> = {},
): Promise<void> {
  const path = join(import.meta.dirname, "workflows", file);
  const { bundle } = await bundleFunction({ name, path });
  const metadata = { main: bundle.main, config: { workflows } };
  await platform.client.deploy(name, metadata, bundle.modules);
}

async function onBundled(script: string): Promise<unknown> {
  const body = JSON.stringify({ script, id: `case-${script}` });
  const answer = await fetch(engine.url, { method: "POST", body });
  if (!answer.ok) throw new Error(`${script}: ${await answer.text()} ${engine.output()}`);
  return answer.json();
}

async function onIsola(script: string): Promise<unknown> {
  const answer = await platform.call("cases", { json: { script, id: `case-${script}` } });
  expect(answer.status, answer.text).toBe(200);
  return answer.json;
}

const answered = (answer: unknown): { readonly answer: unknown } => ({ answer });

describe("a workflow class and its binding", () => {
  it.concurrent.each(CASES.filter((name) => !DIVERGENCES[name]))(
    "behave as on Cloudflare's engine: %s",
    async (script) => {
      const [bundled, isola] = await Promise.all([onBundled(script), onIsola(script)]);
      expect(isola).toStrictEqual(bundled);
    },
  );

  it.concurrent.each(Object.entries(DIVERGENCES))(
    "behave otherwise, as is said and why: %s",
    async (script, divergence) => {
      const [bundled, isola] = await Promise.all([onBundled(script), onIsola(script)]);
      expect(answered(bundled)).toMatchObject(answered(divergence.bundled));
      expect(answered(isola)).toMatchObject(answered(divergence.isola));
    },
  );

  it("has no divergence listed that is none, or without a reason", () => {
    for (const [name, { bundled, isola, reason }] of Object.entries(DIVERGENCES)) {
      expect(CASES).toContain(name);
      expect(isola).not.toStrictEqual(bundled);
      expect(reason.length).toBeGreaterThan(20);
    }
  });
});

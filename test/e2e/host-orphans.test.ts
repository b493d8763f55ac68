/** Nothing outlives the host, whatever way it dies, and the next one starts cleanly. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { findCgroupPlace } from "../../runtime/host/internal.ts";
import { processesOf } from "../support/process-list.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";

const PROGRAM = join(import.meta.dirname, "../support/fixture-platform-program.ts");

interface Host {
  readonly child: ChildProcess;
  /** First line: addresses, or an error's code. */
  readonly line: Promise<Readonly<Record<string, string>>>;
}

function startHost(dataDir: string): Host {
  const child = spawn(process.execPath, [PROGRAM, dataDir], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const line = new Promise<Record<string, string>>((resolve) => {
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes("\n")) resolve(JSON.parse(text) as Record<string, string>);
    });
    child.on("exit", () => resolve({ code: "DIED" }));
  });
  return { child, line };
}

async function kill(host: Host, signal: "SIGKILL" | "SIGTERM"): Promise<void> {
  const gone = new Promise((resolve) => host.child.once("exit", resolve));
  if (host.child.exitCode !== null || host.child.signalCode !== null) return;
  host.child.kill(signal);
  await gone;
}

function cgroupsOf(pid: number | undefined): string[] {
  const place = findCgroupPlace();
  if (place === undefined) return [];
  const root = place.version === 2 ? place.root : place.memory;
  if (root === undefined) return [];
  return readdirSync(root).filter((name) => name.startsWith(`isola-${String(pid)}-`));
}

describe("a host that is killed", () => {
  it("leaves no process, and the next one starts on its data", async () => {
    const dataDir = join(temporaryFolder(), "data");
    const first = startHost(dataDir);
    const { publicUrl = "" } = await first.line;
    expect((await fetch(`${publicUrl}/cell/0/hello`)).status).toBe(200);
    expect(processesOf(`${dataDir}/workerd`)).toHaveLength(4);
    await kill(first, "SIGKILL");
    const goneMs = await until(() => processesOf(`${dataDir}/workerd`).length === 0);
    expect(goneMs).toBeLessThan(1_000);
    const second = startHost(dataDir);
    const answer = await second.line;
    expect(answer["code"]).toBeUndefined();
    expect((await fetch(`${answer["publicUrl"] ?? ""}/cell/0/hello`)).status).toBe(200);
    await kill(second, "SIGTERM");
    expect(processesOf(dataDir)).toEqual([]);
    expect(readdirSync(join(dataDir, "run"))).toEqual(["platform.lock"]);
  });

  it("at any moment of its start leaves no process and nothing that stops the next", async () => {
    const dataDir = join(temporaryFolder(), "data");
    for (let round = 0; round < 12; round += 1) {
      const host = startHost(dataDir);
      // From before the first process to after the last one.
      await sleep(200 + round * 70 + Math.random() * 60);
      await kill(host, "SIGKILL");
      await until(() => processesOf(`${dataDir}/workerd`).length === 0, 2_000);
    }
    const last = startHost(dataDir);
    expect((await last.line)["code"]).toBeUndefined();
    await kill(last, "SIGTERM");
    expect(processesOf(dataDir)).toEqual([]);
  });

  it("while it stops leaves no process either", async () => {
    const dataDir = join(temporaryFolder(), "data");
    for (const delayMs of [0, 5, 20]) {
      const host = startHost(dataDir);
      await host.line;
      host.child.kill("SIGTERM");
      await sleep(delayMs);
      await kill(host, "SIGKILL");
      const goneMs = await until(() => processesOf(`${dataDir}/workerd`).length === 0);
      expect(goneMs).toBeLessThan(1_000);
    }
  });

  it("leaves cgroups that the next one sweeps", async () => {
    const dataDir = join(temporaryFolder(), "data");
    const first = startHost(dataDir);
    await first.line;
    await kill(first, "SIGKILL");
    await until(() => processesOf(`${dataDir}/workerd`).length === 0);
    const second = startHost(dataDir);
    await second.line;
    expect(cgroupsOf(first.child.pid)).toEqual([]);
    await kill(second, "SIGTERM");
    expect(cgroupsOf(second.child.pid)).toEqual([]);
  });
});

describe("a second host on the same data", () => {
  it("is refused while the first one lives, and names it", async () => {
    const dataDir = join(temporaryFolder(), "data");
    const first = startHost(dataDir);
    await first.line;
    const second = await startHost(dataDir).line;
    expect(second["code"]).toBe("DATA_IN_USE");
    expect(second["message"]).toContain(String(first.child.pid));
    expect(processesOf(`${dataDir}/workerd`)).toHaveLength(4);
    await kill(first, "SIGTERM");
    expect(existsSync(join(dataDir, "run/platform.pid"))).toBe(false);
  });
});

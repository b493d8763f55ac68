/** Processes of a test's platform, by what they do. */
import { setTimeout as sleep } from "node:timers/promises";
import type { CellInfo } from "../../runtime/contract/index.ts";
import type { TestPlatform } from "./platform.ts";
import { processesOf } from "./process-list.ts";

export async function cellOf(platform: TestPlatform, slot: number): Promise<CellInfo> {
  const cells = await platform.client.cells();
  const cell = cells.find((one) => one.slot === slot);
  if (!cell) throw new Error(`no cell ${String(slot)} among ${JSON.stringify(cells)}`);
  return cell;
}

export async function restartsOf(platform: TestPlatform, slot: number): Promise<number> {
  return (await cellOf(platform, slot)).restarts;
}

/** Kills a cell and returns when it did, on the test's own clock. */
export async function killCell(
  platform: TestPlatform,
  slot: number,
  signal: "SIGKILL" | "SIGSEGV" = "SIGKILL",
): Promise<number> {
  const { pid } = await cellOf(platform, slot);
  if (pid === undefined) throw new Error(`cell ${String(slot)} has no process`);
  const atMs = performance.now();
  process.kill(pid, signal);
  return atMs;
}

/** The process of a trusted worker. */
export function processOf(platform: TestPlatform, name: "gateway" | "egress"): number | undefined {
  return processesOf(`${platform.dataDir}/workerd/${name}/`)[0];
}

/** Milliseconds until a call of the target succeeds, from `fromMs` on the test's clock. */
export async function answersAgain(
  platform: TestPlatform,
  target: string,
  fromMs: number,
  boundMs = 10_000,
): Promise<number> {
  for (;;) {
    const answer = await platform.call(target).catch(() => undefined);
    const tookMs = performance.now() - fromMs;
    if (answer?.status === 200) return tookMs;
    if (tookMs > boundMs) throw new Error(`${target} did not answer again: ${answer?.text ?? ""}`);
    await sleep(2);
  }
}

/**
 * Memory per loaded isolate: the slope of the cell's memory over the number of isolates in it,
 * never a total: a process that has worked holds far more than its isolates need.
 */
import type { Target } from "../baselines.ts";
import type { Journal } from "../journal.ts";
import { type IsolaTarget, deployCode } from "../platform.ts";
import { memoryOf } from "../processes.ts";

const SETTLE_MS = 500;

async function read(target: Target, isolates: number, journal: Journal): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const cells = target.processes().filter(({ name }) => name === "cell");
  const memories = cells.flatMap(({ pid }) => memoryOf(pid) ?? []);
  if (memories.length === 0) {
    journal.add({ type: "note", value: `memory of ${target.name} cannot be read here` });
    return;
  }
  const sum = (field: "pssBytes" | "anonymousBytes"): number =>
    memories.reduce((total, memory) => total + memory[field], 0);
  const [pssBytes, anonymousBytes] = [sum("pssBytes"), sum("anonymousBytes")];
  journal.add({ type: "memory", target: target.name, isolates, pssBytes, anonymousBytes });
}

/** Calls once; says whether an isolate had to be loaded for it. */
async function callOnce(url: string): Promise<boolean> {
  const response = await fetch(url);
  const text = await response.text();
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${text}`);
  return response.headers.get("x-isola-cold") === "1";
}

/** Isolates of the bare loader; ids do not meet those of other measurements. */
export async function measureBareDensity(
  target: Target,
  counts: readonly number[],
  journal: Journal,
): Promise<void> {
  let loaded = 0;
  for (const count of counts) {
    for (; loaded < count; loaded++) await callOnce(`${target.url}load?id=density-${loaded}`);
    await read(target, count, journal);
  }
}

export async function measureDensity(
  isola: IsolaTarget,
  code: string,
  counts: readonly number[],
  journal: Journal,
): Promise<void> {
  let loaded = 0;
  for (const count of counts) {
    for (; loaded < count; loaded++) {
      const name = `density-${loaded}`;
      await deployCode(isola.client, name, `${code}\n// ${name}\n`);
      await callOnce(`${isola.publicUrl}/function/${name}`);
    }
    await read(isola, count, journal);
  }
  let gone = 0;
  for (let index = 0; index < loaded; index++) {
    if (await callOnce(`${isola.publicUrl}/function/density-${index}`)) gone += 1;
  }
  journal.add({ type: "evicted", target: isola.name, isolates: gone });
}

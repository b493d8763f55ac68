/**
 * Lines that commit, fence or dedupe, each with what takes its place in a copy of the sources: a
 * seed of the simulation has to fail over every one of them. A line that moves or changes is found
 * by the check that reads this list, not passed over.
 */
import { spawn } from "node:child_process";
import { cpSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Mutant {
  readonly what: string;
  readonly file: string;
  readonly line: string;
  /** Default: nothing. */
  readonly instead?: string;
}

const RUN_STORE = "runtime/cell/runs/run-store.ts";
const COORDINATOR = "workflow/coordinator/coordinator.ts";
const RUN_TABLE = "workflow/coordinator/run-table.ts";

export const MUTANTS: readonly Mutant[] = [
  {
    what: "an attempt's staged writes are committed with its step",
    file: RUN_STORE,
    line: "if (isCommit && session?.isOpen === true) session.commit();",
    instead: "if (isCommit && session?.isOpen === true) session.abort();",
  },
  {
    what: "an attempt that failed leaves nothing",
    file: RUN_STORE,
    line: "if (isCommit && session?.isOpen === true) session.commit();",
    instead: "if (session?.isOpen === true) session.commit();",
  },
  {
    what: "an attempt that has settled reaches no store any more",
    file: RUN_STORE,
    line: "    attempts.delete(key);",
  },
  {
    what: "an attempt of another process is none",
    file: RUN_STORE,
    line: "    const attempt = this.#attemptOf(job, { step, token, epoch });\n    const { run",
    instead:
      "    const attempt = this.#attempts.get(job.id)?.get(keyOf({ step, token }));\n" +
      "    if (attempt?.run.epoch !== epoch) return this.#store.session(job.namespace, job.id);\n" +
      "    const { run",
  },
  {
    what: "a job ends with its run",
    file: RUN_STORE,
    line: `    if (status !== "failed") this.#ended(run);`,
  },
  {
    what: "what is said of a run that is no longer kept goes with it",
    file: RUN_STORE,
    line: "    quietly(() => this.#store.dropHeld(namespace, id));",
  },
  {
    what: "a run's result outlives its job",
    file: RUN_STORE,
    line: "quietly(() => (isKept = this.#store.keepHeld(run.namespace, job, key)));",
  },
  {
    what: "a run that begins anew begins with nothing",
    file: RUN_STORE,
    line: "    if (this.#jobs.has(run.id)) this.#ended(run);\n  }\n\n  settle",
    instead: "  }\n\n  settle",
  },
  {
    what: "a held value is there before what refers to it",
    file: RUN_STORE,
    line: `await session.put(HELD_BUCKET, key, stored, { durability: isLoose`,
    instead: `(() => undefined)({ durability: isLoose`,
  },
  {
    what: "a lost value of a pure step is made again",
    file: RUN_STORE,
    line: "      if (!by || !remake) return this.#read(run.namespace, ref);",
    instead: "      return this.#read(run.namespace, ref);",
  },
  {
    what: "what a run loses of its own puts no name of its functions in doubt",
    file: "store/table.ts",
    line: "    if (entry.bucket.name === HELD_BUCKET) return;",
  },
  {
    what: "staged writes become the job's",
    file: "store/session.ts",
    line: "    this.#overlay?.commit();",
  },
  {
    what: "nothing is written through a session that is over",
    file: "store/session.ts",
    line: `    if (this.#state === "open") return;\n    if (this.#job.endedAtMs`,
    instead: "    return;\n    if (this.#job.endedAtMs",
  },
  {
    what: "an answer is recorded with what its operation changed",
    file: "store/decisions.ts",
    line: "        answers.record(this.#job, place.operation, subject, outcome, hasRows);",
  },
  {
    what: "what was taken goes with the commit of who took it",
    file: "store/surface.ts",
    line: "      if (lease) leases.decide(lease, true);",
    instead: "      if (lease) leases.decide(lease, false);",
  },
  {
    what: "an event is in the journal",
    file: RUN_TABLE,
    line: "      this.#sql.all(STATEMENTS.eventInsert, number, head, encoded);",
  },
  {
    what: "an effect leaves behind its commit",
    file: "workflow/coordinator/departures.ts",
    line: "    this.#waiting.push({ position: this.#seams.log.position, run",
    instead: "    this.#waiting.push({ position: this.#seams.log.position - 1, run",
  },
  {
    what: "what was in flight is told that its process died",
    file: COORDINATOR,
    line: `    this.#apply(live, { type: "interrupted", where: "cell", error });`,
  },
  {
    what: "code is told that its session died",
    file: COORDINATOR,
    line: `this.#apply(live, { type: "codeLost", session: code.session });`,
    instead: ";",
  },
  {
    what: "a run that begins anew shares no token with its former life",
    file: COORDINATOR,
    line: `    this.#apply(live, { type: "begunAnew", life: this.epoch });`,
  },
  {
    what: "a run hears of the end of the one that it invoked",
    file: COORDINATOR,
    line: `      if (owner) this.#apply(owner, { type: "childEnded", step, token, outcome });`,
  },
  {
    what: "an answer under another token changes nothing",
    file: "workflow/engine/steps.ts",
    line: `if (step?.token !== token || (step.phase !== "running" &&`,
    instead: `if (!step || (step.phase !== "running" &&`,
  },
  {
    what: "a step's writes are committed with its result",
    file: "workflow/engine/steps.ts",
    line: `this.#turn.emit({ do: outcome.ok ? "commitStore" : "abortStore", step: id, token });`,
  },
  {
    what: "a join waits for each of its parents",
    file: "workflow/engine/dag-walk.ts",
    line: `if (!index || node.phase !== "idle" || node.inputs.size < index.parents.length) return;`,
    instead: `if (!index || node.phase !== "idle") return;`,
  },
];

const COPIED = [
  "package.json",
  "store",
  "workflow",
  "runtime/contract",
  "runtime/cell",
  "runtime/sdk",
  "test/support",
];

/**
 * Plays seeds over a copy of the sources with the mutant in it.
 *
 * @returns what the first seed that failed said; undefined if none did.
 */
export async function playMutant(
  root: string,
  copy: string,
  { file, line, instead = "" }: Mutant,
  seeds: number,
): Promise<string | undefined> {
  for (const path of COPIED) cpSync(join(root, path), join(copy, path), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  const path = join(copy, file);
  const source = readFileSync(path, "utf8");
  const count = source.split(line).length - 1;
  if (count !== 1) throw new Error(`${String(count)} times in ${file}: ${line}`);
  writeFileSync(
    path,
    source.replace(line, () => instead),
  );
  try {
    return await play(copy, seeds);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

async function play(copy: string, seeds: number): Promise<string | undefined> {
  const program = join(copy, "test/support/run-seeds-program.ts");
  const child = spawn(process.execPath, [program, "1", String(seeds)], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 60_000,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  }
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject).on("close", resolve);
  });
  return status === 0 ? undefined : output;
}

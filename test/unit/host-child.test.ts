/** Output of child processes: all of it is read, and soon; no child waits for its reader. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type ChildExit, spawnChild, systemTimers } from "../../runtime/host/internal.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

interface Ran {
  readonly output: readonly string[];
  readonly errors: readonly string[];
  readonly exit: ChildExit;
  readonly elapsedMs: number;
}

/** Runs a shell script to its end. */
function run(script: string): Promise<Ran> {
  const folder = temporaryFolder();
  const [output, errors]: [string[], string[]] = [[], []];
  const beganMs = performance.now();
  return new Promise((resolve) => {
    const spec = {
      command: ["sh", "-c", script],
      environment: { PATH: process.env["PATH"] ?? "" },
      descriptors: [],
      outputPath: join(folder, "out"),
      takeOutput: (line: string) => void output.push(line),
      takeError: (line: string) => void errors.push(line),
      takeExit: (exit: ChildExit) =>
        resolve({ output, errors, exit, elapsedMs: performance.now() - beganMs }),
    };
    spawnChild(spec, systemTimers);
  });
}

describe("a child's output", () => {
  it("keeps up with thousands of short lines, each written by itself", async () => {
    // The shell's echo writes every line at once, as a cell writes its breadcrumbs.
    const { output, elapsedMs } = await run(
      'i=0; while [ $i -lt 5000 ]; do echo "line $i of a child"; i=$((i+1)); done',
    );
    expect(output).toHaveLength(5_000);
    expect(output.at(-1)).toBe("line 4999 of a child");
    expect(elapsedMs).toBeLessThan(3_000);
  });

  it("is read to the end before the exit is told", async () => {
    const { output, errors, exit } = await run("echo first; echo said >&2; printf last; exit 3");
    expect(output).toEqual(["first", "last"]);
    expect(errors).toEqual(["said"]);
    expect(exit.code).toBe(3);
  });

  it("is read also of a child that was killed", async () => {
    const { output, exit } = await run("echo before; kill -9 $$");
    expect(output).toEqual(["before"]);
    expect(exit.signal).toBe("SIGKILL");
  });
});

/** Load from a process of its own, so that what the suite does does not disturb it. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { LoadPlan, LoadReport } from "./plan.ts";

export class LoadGenerator {
  readonly #process: ChildProcess = fork(new URL("./process.ts", import.meta.url));

  async run(plan: LoadPlan): Promise<LoadReport> {
    this.#process.send(plan);
    const [answer] = (await once(this.#process, "message")) as [
      { readonly report?: LoadReport; readonly error?: string },
    ];
    if (!answer.report) throw new Error(`load on ${plan.url}: ${answer.error ?? "no report"}`);
    return answer.report;
  }

  async close(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const exited = once(this.#process, "exit");
    this.#process.disconnect();
    await exited;
  }
}

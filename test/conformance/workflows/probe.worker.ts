/** The workflow as a function of Isola. */
import { WorkflowEntrypoint } from "cloudflare:workers";
import type { WorkflowEvent, WorkflowStep } from "cloudflare:workers";
import type { Context } from "../../../runtime/sdk/index.ts";
import { type Asked, ROUTINES } from "./routines.worker.ts";

interface Env {
  readonly ISOLA: Context;
}

export class Probe extends WorkflowEntrypoint<Env, Asked> {
  override async run(event: Readonly<WorkflowEvent<Asked>>, step: WorkflowStep): Promise<unknown> {
    const note = async (id: string, entry: unknown) => this.env.ISOLA.call("notes", { id, entry });
    return ROUTINES[event.payload.routine]?.(step, event, note);
  }
}

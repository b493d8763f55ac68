/** The workflow and the cases in one Worker, for the engine that is bundled with workerd. */
import { WorkflowEntrypoint } from "cloudflare:workers";
import type { WorkflowEvent, WorkflowStep } from "cloudflare:workers";
import { type Asked, ROUTINES } from "./routines.worker.ts";
import { SCRIPTS } from "./scripts.worker.ts";

const notes = new Map<string, unknown[]>();

async function note(id: string, entry: unknown): Promise<void> {
  notes.set(id, [...(notes.get(id) ?? []), entry]);
  return Promise.resolve();
}

export class Probe extends WorkflowEntrypoint<unknown, Asked> {
  override async run(event: Readonly<WorkflowEvent<Asked>>, step: WorkflowStep): Promise<unknown> {
    return ROUTINES[event.payload.routine]?.(step, event, note);
  }
}

export default {
  async fetch(request, _env, ctx) {
    const { script, id } = await request.json<{ script: string; id: string }>();
    const { Probe: probe } = ctx.exports as unknown as { readonly Probe: Workflow<Asked> };
    const tools = { undone: async (of: string) => Promise.resolve(notes.get(of) ?? []) };
    return Response.json((await SCRIPTS[script]?.(probe, id, tools)) ?? null);
  },
} satisfies ExportedHandler;

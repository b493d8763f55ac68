/** The cases as a function of Isola, with a binding to the workflow. */
import type { Context } from "../../../runtime/sdk/index.ts";
import type { Asked } from "./routines.worker.ts";
import { SCRIPTS } from "./scripts.worker.ts";

interface Env {
  readonly ISOLA: Context;
  readonly PROBE: Workflow<Asked>;
}

export default {
  async fetch(request, env) {
    const { script, id } = await request.json<{ script: string; id: string }>();
    const tools = { undone: async (of: string) => env.ISOLA.call("notes", { id: of }) };
    return Response.json((await SCRIPTS[script]?.(env.PROBE, id, tools)) ?? null);
  },
} satisfies ExportedHandler<Env>;

/** The graph of a workflow for an input: its definition is evaluated as for a run, which is all. */
import {
  IsolaError,
  type RunAsk,
  isErrorCode,
  newCallId,
  systemClock,
  systemRandom,
} from "../../contract/index.ts";
import { graphOfPlan } from "../../../workflow/index.ts";
import { planRun } from "./flow-driver.worker.ts";
import { textOf } from "./run-admin.worker.ts";

/** Errors: `PLAN_INVALID`, what the definition threw, `FUNCTION_NOT_FOUND`, … */
export async function drawDefinition(
  namespace: string,
  { workflow, version, input, format }: Extract<RunAsk, { readonly ask: "draw" }>,
): Promise<string> {
  const report = await planRun({
    // Another one each time: isolates keep evaluations by run.
    run: { id: `draw-${newCallId(systemRandom)}`, namespace, epoch: 0 },
    request: {
      workflow,
      version,
      form: "dag",
      input: { value: input },
      query: {},
      headers: {},
      revision: 0,
    },
    startedAtMs: systemClock.now(),
    input,
  });
  if (report.type === "planned") return textOf(graphOfPlan(report.plan), format);
  const { code, name, message } = report.type === "planFailed" ? report.error : NO_PLAN;
  throw new IsolaError(isErrorCode(code) ? code : "PLAN_INVALID", {
    attempted: `draw the workflow ${workflow}`,
    found: isErrorCode(code) ? message : `${name}: ${message}`,
    fix: "Give it the input of a call: its graph may depend on it.",
  });
}

const NO_PLAN = { code: "INTERNAL", name: "Error", message: "no plan" } as const;

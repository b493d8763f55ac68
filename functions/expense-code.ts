/** `expense` as code: the same rules, waits and result, in Cloudflare's form of a workflow. */
import { WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from "cloudflare:workers";
import {
  BY_RULE,
  type Decision,
  type Expense,
  FREE_UP_TO,
  NOBODY,
  PATIENCE_MS,
} from "./expense/rules.ts";

export default class ExpenseCode extends WorkflowEntrypoint<unknown, Expense> {
  override async run(
    { payload }: Readonly<WorkflowEvent<Expense>>,
    step: WorkflowStep,
  ): Promise<Decision> {
    if (payload.amount <= FREE_UP_TO) return step.do("rule", async () => BY_RULE);
    try {
      const event = await step.waitForEvent<Decision>("somebody", {
        type: "decision",
        timeout: PATIENCE_MS,
      });
      return event.payload;
    } catch {
      return NOBODY;
    }
  }
}

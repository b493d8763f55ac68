/**
 * An expense that somebody approves, a workflow: small ones pass by rule, the others wait for the
 * event `decision`, for days if need be, and are refused when none comes. A run that waits costs
 * a row and no isolate. As code: `expense-code`.
 *
 * Input: an `Expense`; result: a `Decision`.
 */
import { flow } from "isola";
import { BY_RULE, type Decision, type Expense, FREE_UP_TO, NOBODY, PATIENCE_MS } from "./rules.ts";

export default flow<Expense>((dag) => {
  const branches = dag.conditionalBranch(
    "size",
    ["small", "large"],
    ({ amount }: Expense) => [amount <= FREE_UP_TO ? "small" : "large"],
    { aggregator: (decisions): Decision => decisions.small ?? decisions.large },
  );
  branches.small.node("rule").modify(() => BY_RULE);
  branches.large
    .node<Expense>("somebody")
    .waitForEvent<Decision>("decision", { timeout: PATIENCE_MS, onFailure: () => NOBODY });
});

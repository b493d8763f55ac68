/**
 * FizzBuzz as a workflow: `classify` names the branch, the condition takes it, the branch answers.
 * The same by hand: `fizzbuzz-coordinator` and `fizzbuzz-merged`.
 *
 * Input: a number, or `{n}` as a query sends it.
 */
import { flow } from "isola";
import type { Branch } from "./classify.ts";

type Input = number | string | { readonly n: number | string };

export default flow<Input>((dag, { input }) => {
  const n = Number(typeof input === "object" ? input.n : input);
  dag
    .node("number")
    .modify(() => n)
    .apply<Branch>("classify");
  const branches = dag.conditionalBranch(
    "branch",
    ["fizz-and-buzz", "fizz", "buzz", "number"],
    (branch: Branch) => [branch],
    { aggregator: (answers) => Object.values(answers)[0] },
  );
  for (const name of ["fizz-and-buzz", "fizz", "buzz", "number"] as const) {
    branches[name]
      .node("answer")
      .modify(() => n)
      .apply<string>(name);
  }
  dag.edge("number", "branch");
});

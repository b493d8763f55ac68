/** What an operation does, as people read it in histories and graphs. */
import type { NodePlan } from "../builder/index.ts";
import type { StepOperation } from "./model.ts";

type OperationPlan = (NodePlan & { readonly kind: "chain" })["operations"][number];

const SHOWN_CHARACTERS = 200;

export function operationText(operation: OperationPlan | StepOperation): string {
  return textOf(operation).slice(0, SHOWN_CHARACTERS);
}

function textOf(operation: OperationPlan | StepOperation): string {
  switch (operation.op) {
    case "apply":
      return `apply ${operation.function}`;
    case "request":
      // Queries may hold what only the receiver is to see.
      return `request ${operation.url.replace(/[?#].*$/s, "")}`;
    case "invoke":
      return `invoke ${operation.workflow}`;
    case "event":
      return `event ${operation.type}`;
    case "sleep":
      return operation.forMs === undefined ? "sleep" : `sleep ${String(operation.forMs)} ms`;
    case "repeat":
      return `repeat at most ${String(operation.limit)}`;
    case "rollback":
      return `rollback ${operation.step}`;
    case "modify":
    case "do":
      return operation.op;
  }
}

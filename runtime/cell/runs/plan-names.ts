/** The functions and workflows that a plan names, with the step that names each first. */
import type { DagPlan, OperationPlan, Plan } from "../../../workflow/builder/index.ts";
import { pathWithin } from "../../../workflow/builder/index.ts";

export interface PlanName {
  readonly name: string;
  readonly path: string;
  readonly isWorkflow: boolean;
}

/** Those whose version the run is pinned to: an operation that names a version is not. */
export function* namesOf(plan: Plan): Generator<PlanName> {
  yield* namesWithin(plan.dag, "");
}

function* namesWithin(dag: DagPlan, outer: string): Generator<PlanName> {
  for (const node of dag.nodes) {
    const path = pathWithin(outer, node.id);
    switch (node.kind) {
      case "chain":
        for (const [index, operation] of node.operations.entries()) {
          yield* namesOfOperation(operation, `${path}/${String(index)}`);
        }
        break;
      case "conditional":
        for (const { name, dag: inner } of node.branches) {
          yield* namesWithin(inner, pathWithin(path, name));
        }
        break;
      default:
        yield* namesWithin(node.dag, path);
    }
  }
}

function* namesOfOperation(operation: OperationPlan, path: string): Generator<PlanName> {
  if (operation.op === "apply" && operation.version === undefined) {
    yield { name: operation.function, path, isWorkflow: false };
  }
  if (operation.op === "invoke" && operation.version === undefined) {
    yield { name: operation.workflow, path, isWorkflow: true };
  }
  if ("compensate" in operation && operation.compensate) {
    yield { name: operation.compensate.function, path, isWorkflow: false };
  }
}

/** Takes a node back to one of its operations: what followed from it has not happened any more. */
import { assert } from "../../runtime/contract/index.ts";
import type { NodeState, Place, RunState, ScopeState } from "./model.ts";
import type { DagIndex, PlanIndex } from "./plan-index.ts";

/**
 * `operation` -1: before the parents' values are aggregated; of a branch node 0 is before it
 * decides and 1 after its branches have ended.
 */
export function resetNode(state: RunState, plan: PlanIndex, place: Place, operation: number): void {
  const found = scopeOf(state, plan, place);
  if (!found) return;
  const { scope, dag } = found;
  const wasClosed = scope.ends.size === dag.ends.length;
  const node = scope.nodes.get(place.node);
  if (!node || node.phase === "idle") return;
  const isBranches = dag.nodes.get(place.node)?.plan.kind !== "chain";
  takeBack(state, place, node, isBranches ? Math.min(operation, 1) : operation, isBranches);
  scope.ends.delete(place.node);
  clearDescendants(state, scope, dag, place.node);
  if (wasClosed && scope.parent) reopen(state, plan, scope.parent);
}

function takeBack(
  state: RunState,
  place: Place,
  node: NodeState,
  operation: number,
  isBranches: boolean,
): void {
  node.phase = "active";
  node.operation = isBranches ? 0 : Math.max(operation, 0);
  if (operation === -1) node.values.length = 0;
  else node.values.length = isBranches ? 1 : operation + 1;
  if (isBranches && operation < 1) {
    delete node.branches;
    dropScopes(state, place);
  }
}

/** A branch is not over any more, and neither is the node that it belongs to. */
function reopen(state: RunState, plan: PlanIndex, parent: Place & { index: number }): void {
  const found = scopeOf(state, plan, parent);
  const node = found?.scope.nodes.get(parent.node);
  if (!found || !node?.branches) return;
  node.branches.results[parent.index] = undefined;
  node.branches.left += 1;
  if (node.phase !== "done") return;
  const { scope, dag } = found;
  const wasClosed = scope.ends.size === dag.ends.length;
  node.phase = "active";
  scope.ends.delete(parent.node);
  clearDescendants(state, scope, dag, parent.node);
  if (wasClosed && scope.parent) reopen(state, plan, scope.parent);
}

/** Every node that is reached from `from` forgets what came to it that way. */
function clearDescendants(state: RunState, scope: ScopeState, dag: DagIndex, from: string): void {
  const cleared = new Set<string>();
  const waiting = [from];
  for (const id of waiting) {
    for (const { other } of dag.nodes.get(id)?.children ?? []) {
      if (cleared.has(other)) continue;
      cleared.add(other);
      waiting.push(other);
    }
  }
  for (const id of cleared) {
    const node = scope.nodes.get(id);
    if (!node) continue;
    for (const { other } of dag.nodes.get(id)?.parents ?? []) {
      if (other === from || cleared.has(other)) node.inputs.delete(other);
    }
    node.phase = "idle";
    node.values.length = 0;
    node.operation = 0;
    node.round = 1;
    delete node.branches;
    scope.ends.delete(id);
    dropScopes(state, { scope: scope.path, node: id });
  }
}

/** Forgets the instances of DAGs inside of a node. Outer ones stand before inner ones. */
function dropScopes(state: RunState, { scope, node }: Place): void {
  const doomed = new Set<string>();
  for (const { path, parent } of state.scopes.values()) {
    if (!parent) continue;
    const isInside = parent.scope === scope && parent.node === node;
    if (isInside || doomed.has(parent.scope)) doomed.add(path);
  }
  for (const path of doomed) state.scopes.delete(path);
}

function scopeOf(
  state: RunState,
  plan: PlanIndex,
  place: Place,
): { scope: ScopeState; dag: DagIndex } | undefined {
  const scope = state.scopes.get(place.scope);
  if (!scope) return undefined;
  const dag = plan.get(scope.dag);
  assert(dag, "an instance has its DAG in the plan");
  return { scope, dag };
}

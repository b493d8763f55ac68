/** Where things of a plan stand in a run, and what they are called. */
import { LIMITS } from "../../runtime/contract/index.ts";
import { type RunError, pathWithin } from "../builder/index.ts";
import type { NodeState, Place, RunState, ScopeState } from "./model.ts";
import type { DagIndex, NodeIndex } from "./plan-index.ts";

/** A node of the plan in an instance of its DAG. */
export interface Spot {
  readonly scope: ScopeState;
  readonly dag: DagIndex;
  readonly node: NodeState;
  readonly index: NodeIndex;
}

export const placeOf = ({ scope, index }: Spot): Place => ({
  scope: scope.path,
  node: index.plan.id,
});

/** `node/operation`, in loops followed by `#` and the turn: unique in a run. */
export function stepId(scope: ScopeState, { plan }: NodeIndex, node: NodeState): string {
  const turn = node.turns === 0 ? "" : `#${String(node.turns + 1)}`;
  return `${pathWithin(scope.path, plan.id)}/${String(node.operation)}${turn}`;
}

/** The state of a node, made when it is first delivered to. */
export function nodeOf(scope: ScopeState, id: string): NodeState {
  const existing = scope.nodes.get(id);
  if (existing) return existing;
  const made: NodeState = {
    inputs: new Map(),
    phase: "idle",
    values: [],
    operation: 0,
    round: 1,
    turns: 0,
  };
  scope.nodes.set(id, made);
  return made;
}

/** A key without what paths are made of. */
export function escaped(key: string): string {
  return key.replaceAll(/[%./[\]#]/g, (mark) => `%${mark.charCodeAt(0).toString(16)}`);
}

/** What the author's handlers see of an error. */
export function publicError({ name, message, code, step }: RunError): object {
  return {
    name,
    message,
    ...(code !== undefined && { code }),
    ...(step !== undefined && { step }),
  };
}

export function hookError(message: string, step: string): RunError {
  return { name: "HookFault", message, code: "HOOK_INVALID", step, isFinal: true };
}

/** Why a workflow may not be invoked from here: it would invoke itself without end. */
export function invocationFault(
  { chain, workflow }: RunState,
  invoked: string,
  step: string,
): RunError | undefined {
  const whole = [...chain, workflow];
  const times = whole.filter((name) => name === invoked).length;
  const shown = [...whole, invoked].join(" > ");
  if (times >= LIMITS.callRepeatMax) {
    const message = `${shown} invokes ${invoked} more than ${String(LIMITS.callRepeatMax)} times`;
    return { name: "CallLoop", message, code: "CALL_LOOP", step, isFinal: true };
  }
  if (whole.length < LIMITS.callDepthMax) return undefined;
  const message = `${shown} is deeper than ${String(LIMITS.callDepthMax)}`;
  return { name: "CallDepth", message, code: "CALL_DEPTH", step, isFinal: true };
}

/** What a walk over a plan asks again and again: parents, children, starts, ends, by path. */
import {
  type DagPlan,
  type NodePlan,
  type Plan,
  edgePath,
  hookName,
  pathWithin,
} from "../builder/index.ts";

export interface EdgeIndex {
  readonly other: string;
  readonly carriesData: boolean;
  /** Name of the hook, if there is one. */
  readonly forwarder: string | undefined;
}

interface NodeIndex {
  readonly plan: NodePlan;
  /** Path in the plan, as in the names of hooks. */
  readonly path: string;
  readonly parents: EdgeIndex[];
  readonly children: EdgeIndex[];
}

export interface DagIndex {
  readonly path: string;
  readonly nodes: ReadonlyMap<string, NodeIndex>;
  readonly start: string;
  readonly ends: readonly string[];
}

export type PlanIndex = ReadonlyMap<string, DagIndex>;

export type { NodeIndex };

/** Of plans that are in memory: runs of one plan share its index. */
const indexes = new WeakMap<Plan, PlanIndex>();

/** Every DAG of a valid plan by its path. */
export function indexPlan(plan: Plan): PlanIndex {
  const known = indexes.get(plan) ?? makeIndex(plan);
  indexes.set(plan, known);
  return known;
}

function makeIndex(plan: Plan): PlanIndex {
  const index = new Map<string, DagIndex>();
  const waiting: { path: string; dag: DagPlan }[] = [{ path: "", dag: plan.dag }];
  for (const { path, dag } of waiting) {
    index.set(path, indexDag(path, dag));
    for (const node of dag.nodes) {
      const inner = pathWithin(path, node.id);
      if (node.kind === "subDag" || node.kind === "forEach") {
        waiting.push({ path: inner, dag: node.dag });
      } else if (node.kind === "conditional") {
        const branches = node.branches.map((branch) => ({
          path: pathWithin(inner, branch.name),
          dag: branch.dag,
        }));
        waiting.push(...branches);
      }
    }
  }
  return index;
}

function indexDag(path: string, dag: DagPlan): DagIndex {
  const nodes = new Map<string, NodeIndex>(
    dag.nodes.map((plan) => [
      plan.id,
      { plan, path: pathWithin(path, plan.id), parents: [], children: [] },
    ]),
  );
  for (const edge of dag.edges) {
    const carriesData = edge.execution !== true;
    const forwarder =
      edge.forwarder === true ? hookName(edgePath(path, edge), "forwarder") : undefined;
    nodes.get(edge.from)?.children.push({ other: edge.to, carriesData, forwarder });
    nodes.get(edge.to)?.parents.push({ other: edge.from, carriesData, forwarder });
  }
  const all = [...nodes.values()];
  return {
    path,
    nodes,
    start: all.find((node) => node.parents.length === 0)?.plan.id ?? "",
    ends: all.filter((node) => node.children.length === 0).map((node) => node.plan.id),
  };
}

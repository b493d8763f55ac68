/**
 * The graph of a definition, or of what a run has made of it: as data, DOT and Mermaid.
 *
 * A run's graph has each item of a for-each and each branch that was taken; a definition's has the
 * DAGs of all of them.
 */
import { type DagPlan, type NodePlan, type Plan, pathWithin } from "./builder/index.ts";
import type { HistoryEntry, NodeState, RunState, ScopeState } from "./engine/model.ts";
import { operationText } from "./engine/operation-text.ts";

/** failed: the run ended at one of its steps. */
export type GraphPhase = "idle" | "active" | "done" | "failed";

export interface GraphNode {
  /** Path in the plan, or of the instance in the run. */
  readonly id: string;
  readonly kind: NodePlan["kind"];
  /** Operations of a chain, as people read them. */
  readonly operations: readonly string[];
  /** Of a run alone. */
  readonly phase?: GraphPhase;
}

export interface GraphEdge {
  readonly from: string;
  readonly to: string;
  /** contains: from a node to the starts of the DAGs inside of it, by branch or item. */
  readonly kind: "data" | "execution" | "contains";
  readonly label?: string;
}

export interface Graph {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
}

interface Drawing {
  readonly nodes: GraphNode[];
  readonly edges: GraphEdge[];
}

/** The graph of a definition. */
export function graphOfPlan(plan: Plan): Graph {
  const drawing: Drawing = { nodes: [], edges: [] };
  drawPlan(plan.dag, "", drawing);
  return drawing;
}

/** The graph of a run so far; empty before it was planned. Of code: `graphOfSteps`. */
export function graphOfRun({ plan, scopes, ended }: RunState): Graph {
  const drawing: Drawing = { nodes: [], edges: [] };
  if (!plan) return drawing;
  const dags = new Map<string, DagPlan>();
  collect(plan.dag, "", dags);
  for (const scope of scopes.values()) {
    const dag = dags.get(scope.dag);
    if (dag) drawScope(dag, scope, ended?.error?.step, drawing);
  }
  return drawing;
}

/**
 * The graph of code, of what it did: an edge leads to a step from those that had ended when it
 * began, unless they lead there by others.
 */
export function graphOfSteps(entries: Iterable<HistoryEntry>): Graph {
  const drawing: Drawing = { nodes: [], edges: [] };
  const places = new Map<string, number>();
  const beganAt = new Map<string, number>();
  const ended: { readonly id: string; readonly at: number }[] = [];
  let lastBegun = -1;
  let at = 0;
  for (const { type, step: id, what = "" } of entries) {
    at += 1;
    if (id === undefined) continue;
    const place = places.get(id);
    if (type === "stepStarted" && place === undefined) {
      for (let last = ended.length - 1; last >= 0; last -= 1) {
        const before = ended[last];
        if (!before || before.at < lastBegun) break;
        drawing.edges.push({ from: before.id, to: id, kind: "execution" });
      }
      places.set(id, drawing.nodes.length);
      beganAt.set(id, at);
      drawing.nodes.push({ id, kind: "chain", operations: [what], phase: "active" });
    }
    const phase = PHASES[type];
    const node = place === undefined ? undefined : drawing.nodes[place];
    if (!phase || !node || place === undefined) continue;
    drawing.nodes[place] = { ...node, phase };
    ended.push({ id, at });
    lastBegun = Math.max(lastBegun, beganAt.get(id) ?? 0);
  }
  return drawing;
}

/** What the end of a step makes of it. */
const PHASES: Partial<Record<HistoryEntry["type"], GraphPhase>> = {
  stepCompleted: "done",
  stepFailed: "failed",
  stepCanceled: "idle",
};

function drawPlan(dag: DagPlan, path: string, drawing: Drawing): void {
  for (const node of dag.nodes) {
    const id = pathWithin(path, node.id);
    drawing.nodes.push(drawn(node, id));
    for (const inner of innerDags(node)) {
      drawPlan(inner.dag, pathWithin(id, inner.branch), drawing);
      contain(id, inner.dag, pathWithin(id, inner.branch), inner.label, drawing);
    }
  }
  drawEdges(dag, path, drawing);
}

function drawScope(
  dag: DagPlan,
  scope: ScopeState,
  failedStep: string | undefined,
  drawing: Drawing,
): void {
  for (const node of dag.nodes) {
    const state: NodeState | undefined = scope.nodes.get(node.id);
    const id = pathWithin(scope.path, node.id);
    const hasFailed = failedStep?.startsWith(`${id}/`) === true;
    const phase = hasFailed ? "failed" : (state?.phase ?? "idle");
    drawing.nodes.push({ ...drawn(node, id), phase });
  }
  drawEdges(dag, scope.path, drawing);
  const { parent } = scope;
  if (!parent) return;
  const outer = pathWithin(parent.scope, parent.node);
  const label = scope.path.slice(outer.length).replace(/^\./, "");
  contain(outer, dag, scope.path, label, drawing);
}

function drawn(node: NodePlan, id: string): GraphNode {
  const operations = node.kind === "chain" ? node.operations.map(operationText) : [];
  return { id, kind: node.kind, operations };
}

function drawEdges(dag: DagPlan, path: string, drawing: Drawing): void {
  for (const { from, to, execution, forwarder } of dag.edges) {
    drawing.edges.push({
      from: pathWithin(path, from),
      to: pathWithin(path, to),
      kind: execution === true ? "execution" : "data",
      ...(forwarder === true && { label: "forwarder" }),
    });
  }
}

/** From a node to the start of a DAG inside of it. */
function contain(from: string, dag: DagPlan, path: string, label: string, drawing: Drawing): void {
  const start = dag.nodes.find(({ id }) => !dag.edges.some(({ to }) => to === id));
  if (!start) return;
  const to = pathWithin(path, start.id);
  drawing.edges.push({ from, to, kind: "contains", ...(label !== "" && { label }) });
}

interface InnerDag {
  readonly dag: DagPlan;
  /** Part of the path that a branch adds. */
  readonly branch: string;
  readonly label: string;
}

function innerDags(node: NodePlan): InnerDag[] {
  switch (node.kind) {
    case "chain":
      return [];
    case "conditional":
      return node.branches.map(({ name, dag }) => ({ dag, branch: name, label: name }));
    case "forEach":
      return [{ dag: node.dag, branch: "", label: "each" }];
    case "subDag":
      return [{ dag: node.dag, branch: "", label: "" }];
  }
}

function collect(dag: DagPlan, path: string, into: Map<string, DagPlan>): void {
  into.set(path, dag);
  for (const node of dag.nodes) {
    for (const { dag: inner, branch } of innerDags(node)) {
      const own = pathWithin(path, node.id);
      collect(inner, branch === "" ? own : pathWithin(own, branch), into);
    }
  }
}

const SHAPES = {
  chain: "box",
  subDag: "box3d",
  conditional: "diamond",
  forEach: "folder",
} as const;
const COLOURS = {
  idle: "white",
  active: "lightyellow",
  done: "lightgreen",
  failed: "lightpink",
} as const;

const quoted = (text: string): string => `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`;

/** Text inside of a Mermaid label: marks by their numbers. */
const safe = (text: string): string =>
  text.replaceAll(/[^\w .,:/-]/gu, (mark) => `#${String(mark.codePointAt(0))};`);

/** DOT, as Graphviz reads it. */
export function toDot({ nodes, edges }: Graph): string {
  const lines = nodes.map(({ id, kind, operations, phase }) => {
    const label = [id, ...operations].map((line) => quoted(line).slice(1, -1)).join(String.raw`\n`);
    const fill = phase ? `, style=filled, fillcolor=${COLOURS[phase]}` : "";
    return `  ${quoted(id)} [shape=${SHAPES[kind]}, label="${label}"${fill}];`;
  });
  const styles = { data: "solid", execution: "dashed", contains: "dotted" };
  const arrows = edges.map(({ from, to, kind, label }) => {
    const text = label === undefined ? "" : `, label=${quoted(label)}`;
    return `  ${quoted(from)} -> ${quoted(to)} [style=${styles[kind]}${text}];`;
  });
  return ["digraph workflow {", ...lines, ...arrows, "}", ""].join("\n");
}

/** A Mermaid flowchart. */
export function toMermaid({ nodes, edges }: Graph): string {
  const ids = new Map(nodes.map(({ id }, at) => [id, `n${String(at)}`]));
  const lines = nodes.map(({ id, kind, operations, phase }) => {
    const [open, close] = kind === "conditional" ? ["{", "}"] : ["[", "]"];
    const label = [id, ...operations].map(safe).join("<br>");
    return `  ${ids.get(id) ?? ""}${open}"${label}"${close}${phase ? `:::${phase}` : ""}`;
  });
  const arrows = edges.flatMap(({ from, to, kind, label }) => {
    const [start, end] = [ids.get(from), ids.get(to)];
    if (start === undefined || end === undefined) return [];
    const arrow = kind === "data" ? "-->" : "-.->";
    return [`  ${start} ${arrow}${label === undefined ? "" : `|"${safe(label)}"|`} ${end}`];
  });
  const classes = Object.entries(COLOURS).map(
    ([phase, fill]) => `  classDef ${phase} fill:${fill}`,
  );
  const hasPhases = nodes.some(({ phase }) => phase !== undefined);
  return ["flowchart TD", ...lines, ...arrows, ...(hasPhases ? classes : []), ""].join("\n");
}

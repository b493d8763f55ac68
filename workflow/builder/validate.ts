/**
 * Validation of a plan, whoever made it: the builder, or an isolate that only says it used the
 * builder. What passes can be run: bounded, acyclic, one start in every DAG, no edge to nothing.
 */
import { WORKFLOW_LIMITS } from "../../runtime/contract/index.ts";
import {
  CODE_FIELDS,
  type Fields,
  OPERATION_FIELDS,
  checkFields,
  checkThat,
  durability,
  flag,
  id,
  integer,
  isRecord,
} from "./checks.ts";
import { canonicalJson } from "./canonical.ts";
import { type DagPlan, type NodePlan, PLAN_FORMAT, type Plan, pathWithin } from "./plan.ts";
import { refusePlan, shown } from "./refusals.ts";

const any = { check: () => undefined, isNeeded: true } as const;
const maybe = { check: flag };
const PLAN_FIELDS: Fields = {
  format: any,
  durability: { check: durability, isNeeded: true },
  dag: any,
  onFailure: maybe,
  finally: maybe,
};
const DAG_FIELDS: Fields = { nodes: any, edges: any };
const EDGE_FIELDS: Fields = { from: any, to: any, forwarder: maybe, execution: maybe };
const BRANCH_FIELDS: Fields = { name: any, dag: any };
const BASE: Fields = { id: any, kind: any, aggregator: maybe };
const NODE_FIELDS: Readonly<Record<string, Fields>> = {
  chain: { ...BASE, operations: any },
  subDag: { ...BASE, dag: any },
  conditional: { ...BASE, branches: any },
  forEach: {
    ...BASE,
    dag: any,
    concurrency: { check: integer(1, WORKFLOW_LIMITS.forEachMaxItems) },
  },
};

/**
 * The plan that `data` is.
 *
 * @throws IsolaError `PLAN_INVALID` with path and reason.
 */
export function validatePlan(data: unknown): Plan {
  checkFields("the plan", data, PLAN_FIELDS);
  if (data["format"] !== PLAN_FORMAT) {
    refusePlan("the plan", `format ${shown(data["format"])}`, `format ${String(PLAN_FORMAT)}`);
  }
  new Validation().dag("", data["dag"], 0);
  const plan = data as unknown as Plan;
  const { length } = new TextEncoder().encode(canonicalJson(plan));
  if (length > WORKFLOW_LIMITS.planMaxBytes) {
    refusePlan(
      "the plan",
      `${String(length)} bytes`,
      `at most ${String(WORKFLOW_LIMITS.planMaxBytes)}`,
    );
  }
  return plan;
}

/**
 * Checks what code asks of its run: a step, a sleep, a wait, a workflow.
 *
 * @throws IsolaError `PLAN_INVALID` with path and reason.
 */
export function validateStepCall(step: string, operation: unknown): void {
  checkOperation(step, operation, CODE_FIELDS);
}

function checkOperation(
  where: string,
  operation: unknown,
  known: Readonly<Record<string, Fields>>,
): void {
  const op = isRecord(operation) ? String(operation["op"]) : "";
  const fields = Object.hasOwn(known, op) ? known[op] : undefined;
  if (!fields) refusePlan(where, `the operation ${shown(op)}`, Object.keys(known).join(", "));
  checkFields(where, operation, { op: any, ...fields });
}

function listOf(path: string, value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : refusePlan(path, shown(value), "a list");
}

class Validation {
  #nodes = 0;

  dag(path: string, data: unknown, depth: number): void {
    const where = path === "" ? "the workflow" : path;
    if (depth > WORKFLOW_LIMITS.planMaxDepth) {
      refusePlan(
        where,
        `${String(depth)} DAGs in one another`,
        `at most ${String(WORKFLOW_LIMITS.planMaxDepth)}`,
      );
    }
    checkFields(where, data, DAG_FIELDS);
    const nodes = listOf(`${where}, nodes`, data["nodes"]);
    const edges = listOf(`${where}, edges`, data["edges"]);
    this.#nodes += nodes.length;
    if (this.#nodes > WORKFLOW_LIMITS.planMaxNodes) {
      refusePlan(where, "more nodes", `at most ${String(WORKFLOW_LIMITS.planMaxNodes)} in all`);
    }
    const seen = new Set<string>();
    for (const node of nodes) this.#node(path, node, seen, depth);
    for (const edge of edges) checkEdge(path, edge, seen);
    checkShape(path, data as unknown as DagPlan);
  }

  #node(outer: string, data: unknown, seen: Set<string>, depth: number): void {
    const name = isRecord(data) ? data["id"] : undefined;
    checkThat(`a node of ${outer === "" ? "the workflow" : outer}`, name, id);
    const path = pathWithin(outer, String(name));
    if (seen.has(String(name))) refusePlan(path, "two nodes of that id", "one");
    seen.add(String(name));
    const kind = isRecord(data) ? String(data["kind"]) : "";
    const fields = Object.hasOwn(NODE_FIELDS, kind) ? NODE_FIELDS[kind] : undefined;
    if (!fields) refusePlan(path, `the kind ${shown(kind)}`, Object.keys(NODE_FIELDS).join(", "));
    checkFields(path, data, fields);
    if (kind === "chain") checkOperations(path, data["operations"]);
    else if (kind === "conditional") this.#branches(path, data["branches"], depth);
    else this.dag(path, data["dag"], depth + 1);
  }

  #branches(path: string, data: unknown, depth: number): void {
    const branches = listOf(`${path}, branches`, data);
    if (branches.length === 0) refusePlan(path, "no branch", "at least one");
    const seen = new Set<unknown>();
    for (const branch of branches) {
      checkFields(`a branch of ${path}`, branch, BRANCH_FIELDS);
      const name = branch["name"];
      checkThat(`a branch of ${path}`, name, id);
      if (seen.has(name)) refusePlan(path, `two branches ${shown(name)}`, "one of each name");
      seen.add(name);
      this.dag(pathWithin(path, String(name)), branch["dag"], depth + 1);
    }
  }
}

function checkOperations(path: string, data: unknown): void {
  const operations = listOf(`${path}, operations`, data);
  for (const [index, operation] of operations.entries()) {
    const where = `${path}/${String(index)}`;
    checkOperation(where, operation, OPERATION_FIELDS);
    const { op, from } = operation as { readonly op: string; readonly from?: unknown };
    if (op === "repeat" && Number(from) >= index) {
      refusePlan(where, "nothing to repeat", "an operation before it");
    }
  }
}

function checkEdge(outer: string, data: unknown, ids: ReadonlySet<string>): void {
  checkFields(`an edge of ${outer === "" ? "the workflow" : outer}`, data, EDGE_FIELDS);
  const { from, to } = data;
  const where = edgeShown(outer, String(from), String(to));
  for (const end of [from, to]) {
    if (typeof end === "string" && ids.has(end)) continue;
    refusePlan(where, `no node ${shown(end)} there`, "two nodes of the same DAG");
  }
  if (from === to) refusePlan(where, "an edge from a node to itself", "no cycles; repeat loops");
  if (data["forwarder"] === true && data["execution"] === true) {
    refusePlan(where, "a forwarder of an edge without data", "one or the other");
  }
}

const edgeShown = (outer: string, from: string, to: string): string =>
  `the edge ${pathWithin(outer, from)} > ${to}`;

/** One start, no edge twice, no cycle; with these, every node is reached. */
function checkShape(path: string, { nodes, edges }: DagPlan): void {
  const where = path === "" ? "the workflow" : path;
  if (nodes.length === 0) refusePlan(where, "no node", "at least one");
  const seen = new Set<string>();
  const left = new Map(nodes.map((node) => [node.id, 0]));
  const children = new Map<string, string[]>(nodes.map((node) => [node.id, []]));
  for (const { from, to } of edges) {
    const key = `${from}>${to}`;
    if (seen.has(key)) refusePlan(edgeShown(path, from, to), "the same edge twice", "one");
    seen.add(key);
    left.set(to, (left.get(to) ?? 0) + 1);
    children.get(from)?.push(to);
  }
  const starts = nodes.filter((node) => left.get(node.id) === 0);
  const ready = starts.map((node) => node.id);
  for (const from of ready) {
    for (const to of children.get(from) ?? []) {
      const count = (left.get(to) ?? 0) - 1;
      left.set(to, count);
      if (count === 0) ready.push(to);
    }
  }
  if (ready.length < nodes.length) {
    const cycle = findCycle(new Set(ready), nodes, edges);
    refusePlan(where, `the cycle ${cycle.join(" > ")}`, "no cycles; repeat loops");
  }
  if (starts.length > 1) {
    const names = starts.map((node) => node.id).join(", ");
    refusePlan(where, `the starts ${names}`, "one node without edges to it");
  }
  const [start] = starts;
  if (start?.aggregator === true && start.kind !== "conditional" && start.kind !== "forEach") {
    refusePlan(pathWithin(path, start.id), "an aggregator of the start", "parents to aggregate");
  }
}

/** Goes back along edges among the nodes that never became ready, until one comes again. */
function findCycle(
  ready: ReadonlySet<string>,
  nodes: readonly NodePlan[],
  edges: DagPlan["edges"],
): string[] {
  const before = new Map<string, string>();
  for (const { from, to } of edges) if (!ready.has(from)) before.set(to, from);
  const trail: string[] = [];
  let at = nodes.find((node) => !ready.has(node.id))?.id;
  while (at !== undefined && !trail.includes(at)) {
    trail.unshift(at);
    at = before.get(at);
  }
  const end = trail.indexOf(at ?? "");
  return [...(at === undefined ? [] : [at]), ...trail.slice(0, end + 1)];
}

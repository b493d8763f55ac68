/**
 * Random DAGs three times over: as data, as what the builder makes of them, and as a plain
 * interpreter that runs them by recursion, without time, attempts or accidents.
 */
import { type Flow, flow } from "../../workflow/builder/index.ts";
import type { WorldFunction } from "./workflow-world.ts";

type Dag = Parameters<Parameters<typeof flow>[0]>[0];
type InnerDag = ReturnType<Dag["newDag"]>;

type OperationSpec =
  | { readonly kind: "modify" | "sleepFor" | "sleepBy" | "invoke" | "event" }
  /** Fails that often before it succeeds; `retries` may not be enough. */
  | {
      readonly kind: "apply";
      readonly failures: number;
      readonly retries: number;
      readonly recovers: boolean;
      readonly compensates: boolean;
    }
  /** Repeats the operations since the last one that often. */
  | { readonly kind: "repeat"; readonly rounds: number };

interface NodeBase {
  readonly id: string;
  readonly aggregates: boolean;
}

type NodeSpec = NodeBase &
  (
    | { readonly kind: "chain"; readonly operations: readonly OperationSpec[] }
    | { readonly kind: "sub"; readonly dag: DagSpec }
    | { readonly kind: "branches"; readonly dags: Readonly<Record<string, DagSpec>> }
    | { readonly kind: "each"; readonly dag: DagSpec; readonly concurrency: number }
  );

interface EdgeSpec {
  readonly from: string;
  readonly to: string;
  readonly kind: "data" | "forwarder" | "execution";
}

export interface DagSpec {
  readonly nodes: readonly NodeSpec[];
  readonly edges: readonly EdgeSpec[];
}

/** A number of any value: all that the functions of these tests do. */
export function digest(tag: string, value: unknown): number {
  const text = JSON.stringify([tag, value ?? null]);
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  return (hash >>> 0) % 100_000;
}

const namesFor = (id: string, value: unknown, names: readonly string[]): string[] =>
  names.filter((_name, index) => ((digest(id, value) >> index) & 1) === 1);

const itemsFor = (id: string, value: unknown): Record<string, number> =>
  Object.fromEntries(
    Array.from({ length: digest(id, value) % 4 }, (_v, at) => [`k.${String(at)}`, digest(id, at)]),
  );

/** Makes specifications from chance; `failing` says how likely operations fail for good. */
export class SpecMaker {
  readonly #fraction: () => number;
  readonly #failing: number;
  #nodes = 0;

  constructor(fraction: () => number, failing: number) {
    this.#fraction = fraction;
    this.#failing = failing;
  }

  dag(depth: number): DagSpec {
    const nodes: NodeSpec[] = [];
    const edges: EdgeSpec[] = [];
    const count = 1 + this.#below(depth === 0 ? 6 : 3);
    for (let at = 0; at < count; at += 1) {
      const node = this.#node(depth, at > 0);
      const before = nodes.map(({ id }) => id);
      const parents = before.filter(() => this.#fraction() < 0.4);
      if (parents.length === 0 && at > 0) parents.push(before[this.#below(at)] ?? "");
      for (const from of parents) edges.push({ from, to: node.id, kind: this.#edgeKind() });
      nodes.push(node);
    }
    return { nodes, edges };
  }

  #node(depth: number, mayAggregate: boolean): NodeSpec {
    this.#nodes += 1;
    const id = `n${String(this.#nodes)}`;
    const kind = depth < 2 ? this.#below(10) : 9;
    const aggregates = this.#fraction() < 0.5;
    if (kind === 0) return { id, kind: "sub", aggregates: false, dag: this.dag(depth + 1) };
    if (kind === 1) {
      const dags = { left: this.dag(depth + 1), right: this.dag(depth + 1) };
      return { id, kind: "branches", aggregates, dags };
    }
    if (kind === 2) {
      const concurrency = this.#below(3);
      return { id, kind: "each", aggregates, concurrency, dag: this.dag(depth + 1) };
    }
    const operations = Array.from({ length: this.#below(4) }, () => this.#operation());
    const first = operations.findIndex((operation) => operation.kind === "repeat");
    const starts = operations.filter((_operation, at) => first !== 0 || at > 0);
    const cleaned = starts.filter(
      ({ kind: own }, at) => own !== "repeat" || (at > 0 && starts[at - 1]?.kind !== "repeat"),
    );
    return { id, kind: "chain", aggregates: aggregates && mayAggregate, operations: cleaned };
  }

  #operation(): OperationSpec {
    const kinds = ["modify", "sleepFor", "sleepBy", "invoke", "repeat", "event"] as const;
    const kind = kinds[this.#below(12)];
    if (kind === "repeat") return { kind, rounds: 1 + this.#below(3) };
    if (kind !== undefined) return { kind };
    const isFailing = this.#fraction() < this.#failing;
    const failures = this.#below(3);
    const retries = isFailing ? Math.max(failures - 1, 0) : failures + this.#below(2);
    const [recovers, compensates] = [this.#fraction() < 0.3, this.#fraction() < 0.5];
    return { kind: "apply", failures, retries, recovers, compensates };
  }

  #edgeKind(): EdgeSpec["kind"] {
    return (["data", "data", "forwarder", "execution"] as const)[this.#below(4)] ?? "data";
  }

  #below(bound: number): number {
    return Math.floor(this.#fraction() * bound);
  }
}

/** The workflow that a specification describes. */
export function flowOf(spec: DagSpec, mends: boolean, durability: "step" | "run" = "step"): Flow {
  const define = (dag: Dag): void => {
    fill(dag, spec);
    if (mends) dag.onFailure(() => "mended");
  };
  return flow(define, { durability });
}

function fill(dag: InnerDag, spec: DagSpec): void {
  for (const node of spec.nodes) place(dag, node);
  for (const { from, to, kind } of spec.edges) {
    const forwarder = (value: unknown) => digest(`${from}>${to}`, value);
    const options = { data: {}, forwarder: { forwarder }, execution: { execution: true } };
    dag.edge(from, to, options[kind]);
  }
}

function place(dag: InnerDag, node: NodeSpec): void {
  const { id } = node;
  const aggregator = (results: unknown) => digest(`${id} aggregates`, results);
  const options = node.aggregates ? { aggregator } : {};
  if (node.kind === "chain") {
    chain(dag, node, options);
  } else if (node.kind === "sub") {
    const inner = dag.newDag();
    fill(inner, node.dag);
    dag.subDag(id, inner);
  } else if (node.kind === "branches") {
    const names = Object.keys(node.dags);
    const condition = (value: unknown) => namesFor(id, value, names);
    const dags = dag.conditionalBranch(id, names, condition, options);
    for (const [name, inner] of Object.entries(node.dags)) fill(dags[name] as InnerDag, inner);
  } else {
    const bound = node.concurrency > 0 ? { concurrency: node.concurrency } : {};
    const inner = dag.forEachBranch(id, (value) => itemsFor(id, value), { ...options, ...bound });
    fill(inner, node.dag);
  }
}

function chain(dag: InnerDag, node: NodeSpec & { kind: "chain" }, options: object): void {
  const chained = dag.node(node.id, options);
  for (const [at, operation] of node.operations.entries()) {
    const tag = `${node.id}/${String(at)}`;
    switch (operation.kind) {
      case "modify":
        chained.modify((value) => digest(tag, value));
        break;
      case "sleepFor":
        chained.sleep(50);
        break;
      case "sleepBy":
        chained.sleep((value) => digest(tag, value) % 100);
        break;
      case "invoke":
        chained.invoke("child");
        break;
      case "event":
        chained.waitForEvent("go", { timeout: 30, onFailure: (_e, input) => digest(tag, input) });
        break;
      case "repeat":
        chained.repeat((_value, round) => round < operation.rounds, { limit: 5 });
        break;
      case "apply":
        chained.apply(`fails-${String(operation.failures)}`, {
          retry: { limit: operation.retries, delayMs: 10, backoff: "linear" },
          pure: digest(tag, "pure") % 3 === 0,
          timeoutMs: 500,
          ...(operation.compensates && { compensate: "undo" }),
          ...(operation.recovers && { onFailure: (_error, input) => digest(`${tag}!`, input) }),
        });
    }
  }
}

/** The functions that these workflows call. */
export const SPEC_FUNCTIONS: Readonly<Record<string, WorldFunction>> = {
  child: (value) => digest("child", value),
  undo: () => "undone",
  ...Object.fromEntries(
    [0, 1, 2].map((failures): [string, WorldFunction] => [
      `fails-${String(failures)}`,
      (value, { attempt }) => {
        if (attempt <= failures) throw new Error(`attempt ${String(attempt)}`);
        return digest("apply", value);
      },
    ]),
  ),
};

class RunFails extends Error {}

export interface Expected {
  readonly output: unknown;
  /** Steps that complete, sorted; undefined if the run fails and chance decides which. */
  readonly steps: readonly string[] | undefined;
}

/** What a workflow answers, by the plainest means; undefined if it fails. */
export function interpret(spec: DagSpec, input: unknown): Expected | undefined {
  const steps: string[] = [];
  try {
    return { output: new Interpreter(steps).dag(spec, "", input), steps: steps.sort() };
  } catch (error) {
    if (error instanceof RunFails) return undefined;
    throw error;
  }
}

class Interpreter {
  readonly #steps: string[];

  constructor(steps: string[]) {
    this.#steps = steps;
  }

  dag(spec: DagSpec, path: string, input: unknown): unknown {
    const outputs = new Map<string, unknown>();
    for (const node of spec.nodes) {
      const into = spec.edges.filter(({ to }) => to === node.id);
      const own = into.length === 0 ? input : this.#joined(node, spec, into, outputs);
      outputs.set(node.id, this.#node(node, path === "" ? node.id : `${path}.${node.id}`, own));
    }
    const ends = spec.nodes.filter(({ id }) => !spec.edges.some(({ from }) => from === id));
    const [only] = ends;
    if (ends.length === 1 && only) return outputs.get(only.id);
    return Object.fromEntries(ends.map(({ id }) => [id, outputs.get(id)]));
  }

  #joined(
    node: NodeSpec,
    spec: DagSpec,
    into: readonly EdgeSpec[],
    outputs: ReadonlyMap<string, unknown>,
  ): unknown {
    const values: [string, unknown][] = [];
    for (const { id } of spec.nodes) {
      const edge = into.find(({ from }) => from === id);
      if (!edge || edge.kind === "execution") continue;
      const value = outputs.get(id);
      values.push([id, edge.kind === "forwarder" ? digest(`${id}>${node.id}`, value) : value]);
    }
    const joined = Object.fromEntries(values);
    if (node.kind === "chain" && node.aggregates) return digest(`${node.id} aggregates`, joined);
    return values.length <= 1 ? values[0]?.[1] : joined;
  }

  #node(node: NodeSpec, path: string, input: unknown): unknown {
    switch (node.kind) {
      case "chain":
        return this.#chain(node.id, node.operations, path, input);
      case "sub":
        return this.dag(node.dag, path, input);
      case "branches": {
        const chosen = namesFor(node.id, input, Object.keys(node.dags));
        const dagOf = (name: string) => node.dags[name] ?? { nodes: [], edges: [] };
        const results = chosen.map((name): [string, unknown] => [
          name,
          this.dag(dagOf(name), `${path}.${name}`, input),
        ]);
        return aggregated(node, Object.fromEntries(results));
      }
      case "each": {
        const results = Object.entries(itemsFor(node.id, input)).map(
          ([key, item]): [string, unknown] => [
            key,
            this.dag(node.dag, `${path}[${key.replace(".", "%2e")}]`, item),
          ],
        );
        return aggregated(node, Object.fromEntries(results));
      }
    }
  }

  #chain(id: string, operations: readonly OperationSpec[], path: string, input: unknown): unknown {
    let value = input;
    let turns = 0;
    let round = 1;
    let loop = 0;
    for (let at = 0; at < operations.length; at += 1) {
      const operation = operations[at];
      if (!operation) continue;
      const tag = `${id}/${String(at)}`;
      const step = `${path}/${String(at)}${turns === 0 ? "" : `#${String(turns + 1)}`}`;
      if (operation.kind === "modify") value = digest(tag, value);
      else if (operation.kind === "repeat") {
        if (round < operation.rounds) {
          round += 1;
          turns += 1;
          at = loop - 1;
        } else {
          round = 1;
          loop = at + 1;
        }
      } else value = this.#step(operation, tag, step, value);
    }
    return value;
  }

  #step(operation: OperationSpec, tag: string, step: string, value: unknown): unknown {
    if (operation.kind === "event") return digest(tag, value);
    if (operation.kind === "apply" && operation.failures > operation.retries) {
      if (operation.recovers) return digest(`${tag}!`, value);
      throw new RunFails(step);
    }
    this.#steps.push(step);
    if (operation.kind === "apply") return digest("apply", value);
    return operation.kind === "invoke" ? digest("child", value) : value;
  }
}

function aggregated({ id, aggregates }: NodeSpec, results: object): unknown {
  return aggregates ? digest(`${id} aggregates`, results) : results;
}

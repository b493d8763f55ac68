/**
 * The walk over a plan: from what has just ended to the next steps, through edges, joins,
 * branches and loops. Only here do nodes begin and end (W4).
 *
 * D1 A delivery is known by its parent; a node begins when the last of its parents has delivered.
 * D2 Hooks of one walk go in one call. What decides where to go (a condition, the items of a
 *    for-each, a loop) ends the walk there; the next one goes on from its answer.
 * D3 While hooks are called, nothing else is walked; what ends meanwhile waits in the queue. A
 *    failed hook takes its node back to where the hook stands, so that a restart can go on there.
 */
import { WORKFLOW_LIMITS, assert } from "../../runtime/contract/index.ts";
import { type Held, type HookResult, type HookRole, pathWithin } from "../builder/index.ts";
import type { RunError } from "../builder/index.ts";
import { Batch, fillCell } from "./batch.ts";
import type {
  BatchPlace,
  BatchState,
  Place,
  PlacedWork,
  ScopeState,
  StepOperation,
  Work,
} from "./model.ts";
import { type DagIndex, type PlanIndex, indexPlan } from "./plan-index.ts";
import {
  type Spot,
  escaped,
  hookError,
  invocationFault,
  nodeOf,
  placeOf,
  publicError,
  stepId,
} from "./places.ts";
import { resetNode } from "./reset.ts";
import type { Steps } from "./steps.ts";
import type { Turn } from "./turn.ts";

const NOTHING: Held = { value: undefined };

export class DagWalk {
  readonly #turn: Turn;
  readonly #steps: Steps;
  #index: PlanIndex | undefined;
  #batch = Batch.make(0, "walk");

  constructor(turn: Turn, steps: Steps) {
    this.#turn = turn;
    this.#steps = steps;
  }

  /** Begins the root. */
  begin(input: Held): void {
    this.#open("", "", undefined, input);
  }

  /** Walks as far as it gets without hooks; true when a failure or the end is at the head. */
  pump(): Work | undefined {
    const { state } = this.#turn;
    while (!this.#turn.isHeld && !state.batch && state.queue.length > 0) {
      const last = state.queue.find(({ kind }) => kind === "fail" || kind === "finish");
      if (last) return last;
      state.batches += 1;
      this.#batch = Batch.make(state.batches, "walk");
      this.#drain();
      this.send(this.#batch.state);
    }
    return undefined;
  }

  /** Asks for the hooks of a batch; without any, its steps start at once. */
  send(batch: BatchState): void {
    if (batch.calls.length === 0) {
      this.#launch(batch);
      return;
    }
    this.#turn.state.batch = batch;
    this.#turn.emit({ do: "hooks", batch: batch.id, calls: batch.calls });
  }

  /** Goes on from what the hooks of a walk answered. */
  returned(batch: BatchState, results: readonly HookResult[]): void {
    const { queue } = this.#turn.state;
    for (const [index, cell] of batch.cells.entries()) fillCell(cell, results[index] ?? {});
    const failed = results.findIndex((result) => "error" in result || "skipped" in result);
    if (failed !== -1) {
      this.#takeBack(batch, results);
      return;
    }
    for (const [index, result] of results.entries()) {
      const place = batch.places[index];
      const fault = place && this.#decide(place, result);
      if (!fault) continue;
      this.#dropSteps(batch);
      queue.push({ kind: "fail", error: fault });
      return;
    }
    if (queue.some(({ kind }) => kind === "fail") || this.#isOver()) this.#dropSteps(batch);
    else if (this.#turn.isHeld) this.#postpone(batch);
    else this.#launch(batch);
  }

  /** Every hook of the batch failed alike: the call itself did. */
  failed(batch: BatchState, error: RunError): void {
    const results = batch.calls.map((_call, index): HookResult =>
      index === 0 ? { error } : { skipped: true },
    );
    this.returned(batch, results);
  }

  /** Goes on with everything that is active and waits for nothing: after a restart. */
  proceedAll(): void {
    const { state } = this.#turn;
    const busy = new Set(
      state.queue.flatMap((work) => ("node" in work ? `${work.scope} ${work.node}` : [])),
    );
    for (const scope of state.scopes.values()) {
      for (const [node, { phase }] of scope.nodes) {
        if (phase !== "active" || busy.has(`${scope.path} ${node}`)) continue;
        state.queue.push({ kind: "proceed", scope: scope.path, node });
      }
    }
  }

  /** Takes a node back to one of its operations, and everything that came after it. */
  reset(place: Place, operation: number): void {
    const { state } = this.#turn;
    resetNode(state, this.#plan(), place, operation);
    state.queue = state.queue.filter(
      (work) => !("node" in work) || work.node !== place.node || work.scope !== place.scope,
    );
  }

  /** The place of a step's id, if the run has come to it. */
  find(step: string): (Place & { operation: number }) | undefined {
    const slash = step.lastIndexOf("/");
    const operation = Number.parseInt(step.slice(slash + 1), 10);
    const path = step.slice(0, slash);
    for (const scope of this.#turn.state.scopes.values()) {
      const id = scope.path === "" ? path : path.slice(scope.path.length + 1);
      const node = scope.nodes.get(id);
      if (!node || pathWithin(scope.path, id) !== path) continue;
      return operation in node.values ? { scope: scope.path, node: id, operation } : undefined;
    }
    return undefined;
  }

  #isOver(): boolean {
    return this.#turn.state.ending !== undefined;
  }

  #plan(): PlanIndex {
    const { plan } = this.#turn.state;
    assert(plan, "a run is walked after it was planned");
    this.#index ??= indexPlan(plan);
    return this.#index;
  }

  #drain(): void {
    const { state } = this.#turn;
    const later: Work[] = [];
    while (state.queue.length > 0) {
      const works = state.queue;
      state.queue = [];
      for (const [index, work] of works.entries()) {
        if (this.#batch.size >= WORKFLOW_LIMITS.hooksPerCall) {
          state.queue = [...later, ...works.slice(index), ...state.queue];
          return;
        }
        if ("node" in work) this.#work(work);
        else later.push(work);
      }
    }
    state.queue = later;
  }

  #work(work: PlacedWork): void {
    const spot = this.#spot(work);
    if (spot?.node.phase !== "active") return;
    if (work.kind === "proceed") {
      this.#proceed(spot);
      return;
    }
    if (work.kind === "branch") {
      this.#branch(spot, work.keys, work.inputs);
      return;
    }
    const { node, index } = spot;
    const at = node.operation;
    const where = `${index.path}/${String(at)}`;
    const operation = index.plan.kind === "chain" ? index.plan.operations[at] : undefined;
    if (work.kind === "recover") {
      const input = node.values[at] ?? NOTHING;
      const error: Held = { value: publicError(work.error) };
      this.#advance(spot, this.#hook(spot, where, "onFailure", [error, input]));
    } else if (operation?.op === "request" && operation.response === true) {
      this.#advance(spot, this.#hook(spot, where, "response", [work.output], work));
    } else {
      this.#advance(spot, work.output);
    }
    this.#proceed(spot);
  }

  #proceed(spot: Spot): void {
    const { node, index } = spot;
    const { plan } = index;
    if (node.values.length === 0) node.values.push(this.#inputOf(spot));
    const input = node.values[0] ?? NOTHING;
    if (plan.kind === "chain") {
      this.#operate(spot);
    } else if (node.branches) {
      if (node.branches.left === 0) this.#gather(spot);
    } else if (plan.kind === "subDag") {
      this.#branch(spot, [""], [input]);
    } else {
      this.#hook(spot, index.path, plan.kind === "forEach" ? "split" : "condition", [input]);
    }
  }

  /** The operations of a chain, up to one that takes time or decides. */
  #operate(spot: Spot): void {
    const { node, index, scope } = spot;
    if (index.plan.kind !== "chain") return;
    const { operations } = index.plan;
    for (;;) {
      const at = node.operation;
      const operation = operations[at];
      const value = node.values[at] ?? NOTHING;
      const where = `${index.path}/${String(at)}`;
      if (!operation) {
        this.#finish(spot, value);
        return;
      }
      switch (operation.op) {
        case "modify":
          this.#advance(spot, this.#hook(spot, where, "modify", [value]));
          continue;
        case "repeat":
          this.#hook(spot, where, "while", [value, { value: node.round }]);
          return;
        case "sleep":
          if (operation.forMs === undefined) this.#hook(spot, where, "duration", [value]);
          else this.#step(spot, operation, value);
          return;
        case "invoke": {
          const fault = invocationFault(
            this.#turn.state,
            operation.workflow,
            stepId(scope, index, node),
          );
          if (fault) this.#turn.state.queue.push({ kind: "fail", error: fault });
          else this.#step(spot, operation, value);
          return;
        }
        default:
          this.#step(spot, operation, value);
          return;
      }
    }
  }

  #step({ scope, index, node }: Spot, operation: StepOperation, input: Held): void {
    const place = { scope: scope.path, node: index.plan.id };
    const step = this.#steps.add(stepId(scope, index, node), operation, input, place);
    this.#batch.state.steps.push(step.id);
  }

  #advance({ node }: Spot, value: Held): void {
    node.operation += 1;
    node.values.length = node.operation;
    node.values.push(value);
  }

  #finish(spot: Spot, value: Held): void {
    const { scope, dag, node, index } = spot;
    assert(node.phase === "active", "a node ends once");
    node.phase = "done";
    const last = index.plan.kind === "chain" ? node.values.length - 1 : 1;
    for (const { other, carriesData, forwarder } of index.children) {
      const place = { ...placeOf(spot), operation: last };
      const passed =
        forwarder === undefined
          ? value
          : this.#batch.add(forwarder.replace(/\/forwarder$/, ""), "forwarder", [value], place);
      this.#deliver(scope, dag, other, index.plan.id, carriesData ? passed : null);
    }
    if (index.children.length > 0) return;
    scope.ends.set(index.plan.id, value);
    if (scope.ends.size === dag.ends.length) this.#close(scope, dag);
  }

  #deliver(scope: ScopeState, dag: DagIndex, id: string, from: string, value: Held | null): void {
    const node = nodeOf(scope, id);
    if (node.inputs.has(from)) return;
    node.inputs.set(from, value);
    const index = dag.nodes.get(id);
    if (!index || node.phase !== "idle" || node.inputs.size < index.parents.length) return;
    const spot = { scope, dag, node, index };
    this.#activate(spot, this.#inputOf(spot));
  }

  /** One parent's value as it is; of several an object by parent; or what the aggregator makes. */
  #inputOf(spot: Spot): Held {
    const { node, index } = spot;
    const parts = index.parents.flatMap(({ other }): [string, Held][] => {
      const value = node.inputs.get(other);
      return value ? [[other, value]] : [];
    });
    const { plan } = index;
    const joins = plan.kind === "chain" || plan.kind === "subDag";
    if (joins && plan.aggregator === true) {
      return this.#batch.add(index.path, "aggregator", [{ parts }], {
        ...placeOf(spot),
        operation: -1,
      });
    }
    const [only] = parts;
    if (parts.length <= 1) return only?.[1] ?? NOTHING;
    return { parts };
  }

  #activate(spot: Spot, input: Held): void {
    spot.node.phase = "active";
    spot.node.values.push(input);
    this.#turn.state.queue.push({ kind: "proceed", ...placeOf(spot) });
  }

  #open(dagPath: string, path: string, parent: ScopeState["parent"], input: Held): void {
    const dag = this.#plan().get(dagPath);
    assert(dag, "every branch has its DAG");
    const scope: ScopeState = {
      path,
      dag: dagPath,
      ...(parent && { parent }),
      nodes: new Map(),
      ends: new Map(),
    };
    this.#turn.state.scopes.set(path, scope);
    const index = dag.nodes.get(dag.start);
    assert(index, "every DAG has its start");
    this.#activate({ scope, dag, node: nodeOf(scope, dag.start), index }, input);
  }

  #close(scope: ScopeState, dag: DagIndex): void {
    const parts = dag.ends.map((end): [string, Held] => [end, scope.ends.get(end) ?? NOTHING]);
    const [only] = parts;
    const output = parts.length === 1 && only ? only[1] : { parts };
    if (!scope.parent) {
      this.#turn.state.queue.push({ kind: "finish", output });
      return;
    }
    const spot = this.#spot(scope.parent);
    const branches = spot?.node.branches;
    assert(spot && branches, "a branch ends inside of its node");
    assert(branches.results[scope.parent.index] === undefined, "a branch ends once");
    branches.results[scope.parent.index] = output;
    branches.left -= 1;
    if (branches.left === 0) this.#gather(spot);
    else this.#openNext(spot);
  }

  #branch(spot: Spot, keys: readonly string[], inputs: readonly Held[]): void {
    spot.node.branches = { keys, inputs, results: [], left: keys.length, next: 0 };
    const { plan } = spot.index;
    const width = (plan.kind === "forEach" ? plan.concurrency : undefined) ?? keys.length;
    for (let started = 0; started < width; started += 1) this.#openNext(spot);
    if (keys.length === 0) this.#gather(spot);
  }

  #openNext(spot: Spot): void {
    const { index, node, scope } = spot;
    const { branches } = node;
    if (!branches || branches.next >= branches.keys.length) return;
    const at = branches.next;
    const key = branches.keys[at] ?? "";
    branches.next += 1;
    const path = pathWithin(scope.path, index.plan.id);
    const parent = { ...placeOf(spot), index: at };
    const input = branches.inputs[at] ?? NOTHING;
    if (index.plan.kind === "conditional") {
      this.#open(pathWithin(index.path, key), pathWithin(path, key), parent, input);
    } else {
      const instance = index.plan.kind === "forEach" ? `${path}[${escaped(key)}]` : path;
      this.#open(index.path, instance, parent, input);
    }
  }

  /** The result of branches: by key, or what the aggregator makes; of a sub-DAG, its own. */
  #gather(spot: Spot): void {
    const { node, index } = spot;
    const { keys, results } = node.branches ?? { keys: [], results: [] };
    const parts = keys.map((key, at): [string, Held] => [key, results[at] ?? NOTHING]);
    const { plan } = index;
    let value: Held = { parts };
    if (plan.kind === "subDag") value = results[0] ?? NOTHING;
    else if (plan.aggregator === true) {
      const place = { ...placeOf(spot), operation: 1 };
      value = this.#batch.add(index.path, "aggregator", [{ parts }], place);
    }
    this.#finish(spot, value);
  }

  /** Goes where a hook says. Answers what is wrong with what it said. */
  #decide(place: BatchPlace, result: HookResult): RunError | undefined {
    const spot = this.#spot(place);
    assert(spot, "hooks belong to places");
    const { node, index } = spot;
    const { plan } = index;
    const input = node.values[node.operation] ?? NOTHING;
    if ("names" in result) {
      const known = plan.kind === "conditional" ? plan.branches.map(({ name }) => name) : [];
      const stranger = result.names.find((name) => !known.includes(name));
      if (stranger !== undefined) {
        const found = `${index.path} chose the branch ${JSON.stringify(stranger.slice(0, 64))}`;
        return hookError(`${found}, required: some of ${known.join(", ")}`, index.path);
      }
      const chosen = known.filter((name) => result.names.includes(name));
      this.#turn.note({ type: "branchesChosen", step: index.path, names: chosen });
      this.#branchLater(
        spot,
        chosen,
        chosen.map(() => input),
      );
    } else if ("items" in result) {
      return this.#split(spot, result.items);
    } else if ("again" in result) {
      return this.#loop(spot, input, result.again);
    } else if ("forMs" in result || "untilMs" in result) {
      const forMs = "forMs" in result ? result.forMs : result.untilMs - this.#turn.atMs;
      const bounded = Math.min(Math.max(forMs, 0), WORKFLOW_LIMITS.waitMaxMs);
      this.#later(spot, { op: "sleep", forMs: bounded }, input);
    }
    return undefined;
  }

  #split(spot: Spot, items: readonly (readonly [string, Held])[]): RunError | undefined {
    const { path } = spot.index;
    if (items.length > WORKFLOW_LIMITS.forEachMaxItems) {
      const message = `${path} has ${String(items.length)} items`;
      return { name: "HookFault", message, code: "FAN_OUT_TOO_WIDE", step: path };
    }
    const keys = items.map(([key]) => key);
    const isLong = keys.some((key) => key.length > WORKFLOW_LIMITS.itemKeyMaxCharacters);
    if (isLong || new Set(keys).size < keys.length) {
      return hookError(`${path} has a key that is too long, or comes twice`, path);
    }
    this.#turn.note({ type: "itemsSplit", step: path, count: keys.length });
    this.#branchLater(
      spot,
      keys,
      items.map(([, item]) => item),
    );
    return undefined;
  }

  #loop(spot: Spot, value: Held, again: boolean): RunError | undefined {
    const { node, index, scope } = spot;
    const operation =
      index.plan.kind === "chain" ? index.plan.operations[node.operation] : undefined;
    if (operation?.op !== "repeat") return hookError(`${index.path} is no loop`, index.path);
    if (!again) {
      node.round = 1;
      this.#advance(spot, value);
    } else if (node.round >= operation.limit) {
      const step = stepId(scope, index, node);
      const message = `${step} went round more than ${String(operation.limit)} times`;
      return { name: "LoopLimit", message, code: "LOOP_LIMIT", step, isFinal: true };
    } else {
      node.round += 1;
      node.turns += 1;
      node.operation = operation.from;
      node.values.length = operation.from;
      node.values.push(value);
    }
    this.#turn.state.queue.push({ kind: "proceed", ...placeOf(spot) });
    return undefined;
  }

  /** Branches that a hook chose: opened by the next walk, whose hooks theirs are. */
  #branchLater(spot: Spot, keys: readonly string[], inputs: readonly Held[]): void {
    this.#turn.state.queue.push({ kind: "branch", ...placeOf(spot), keys, inputs });
  }

  #later(spot: Spot, operation: StepOperation, input: Held): void {
    const { scope, index, node } = spot;
    const step = this.#steps.add(stepId(scope, index, node), operation, input, placeOf(spot));
    if (!this.#turn.isHeld) {
      this.#steps.launch(step);
      return;
    }
    this.#turn.state.steps.delete(step.id);
    this.#turn.state.queue.push({ kind: "proceed", ...placeOf(spot) });
  }

  #launch(batch: BatchState): void {
    for (const id of batch.steps) {
      const step = this.#turn.state.steps.get(id);
      if (step?.phase === "held") this.#steps.launch(step);
    }
  }

  /** The run was paused meanwhile: its steps begin when it goes on. */
  #postpone(batch: BatchState): void {
    const { steps, queue } = this.#turn.state;
    for (const id of batch.steps) {
      const place = steps.get(id)?.place;
      steps.delete(id);
      if (place) queue.push({ kind: "proceed", ...place });
    }
  }

  #dropSteps(batch: BatchState): void {
    for (const id of batch.steps) this.#turn.state.steps.delete(id);
  }

  /** A hook failed: its node goes back to it, with everything that was walked from there. */
  #takeBack(batch: BatchState, results: readonly HookResult[]): void {
    const { state } = this.#turn;
    this.#dropSteps(batch);
    state.queue = state.queue.filter(({ kind }) => kind !== "finish");
    for (const [index, result] of results.entries()) {
      const place = batch.places[index];
      const call = batch.calls[index];
      if (!place || !call || !("error" in result)) continue;
      this.reset(place, place.operation);
      if (place.again) state.queue.push(place.again);
      const step = result.error.step ?? call.hook;
      state.queue.push({ kind: "fail", error: { ...result.error, step } });
    }
  }

  #hook(spot: Spot, where: string, role: HookRole, args: readonly Held[], again?: Work): Held {
    const place = { ...placeOf(spot), operation: spot.node.operation, ...(again && { again }) };
    return this.#batch.add(where, role, args, place);
  }

  #spot({ scope: path, node: id }: Place): Spot | undefined {
    const scope = this.#turn.state.scopes.get(path);
    const dag = scope && this.#plan().get(scope.dag);
    const node = scope?.nodes.get(id);
    const index = dag?.nodes.get(id);
    return scope && dag && node && index ? { scope, dag, node, index } : undefined;
  }
}

/**
 * Hooks of one transition, gathered into one call: a hook that needs what another one makes gets
 * a cell in its place, which is filled in when the call has returned.
 */
import { type Held, type HookResult, type HookRole, hookName } from "../builder/index.ts";
import type { BatchPlace, BatchState } from "./model.ts";

/** The cell of a value that is not made yet. */
interface Cell {
  slot?: number;
}

export class Batch {
  readonly state: BatchState;

  constructor(state: BatchState) {
    this.state = state;
  }

  static make(id: number, purpose: BatchState["purpose"]): Batch {
    return new Batch({ id, purpose, calls: [], cells: [], places: [], steps: [] });
  }

  get size(): number {
    return this.state.calls.length;
  }

  /** Adds a hook; what it makes can be used at once. */
  add(where: string, role: HookRole, args: readonly Held[], place: BatchPlace): Held {
    const cell: Cell = { slot: this.size };
    this.state.calls.push({ hook: hookName(where, role), role, args });
    this.state.cells.push(cell);
    this.state.places.push(place);
    return cell as Held;
  }
}

/** Fills a cell: everything that has it as a value has the result from now on. */
export function fillCell(cell: { slot?: number }, result: object): void {
  delete cell.slot;
  Object.assign(cell, result);
}

const SHAPES: Readonly<Partial<Record<HookRole, (result: object) => boolean>>> = {
  condition: (result) => "names" in result && isListOf(result.names, isText),
  split: (result) => "items" in result && isListOf(result.items, isItem),
  while: (result) => "again" in result && typeof result.again === "boolean",
  duration: (result) => {
    const ms = ("forMs" in result && result.forMs) || ("untilMs" in result && result.untilMs) || 0;
    return ("forMs" in result || "untilMs" in result) && Number.isFinite(ms);
  },
};

/** Whether an answer has the form that its role asks for: the isolate is not ours. */
export function resultFits(role: HookRole, result: HookResult | undefined): boolean {
  if (typeof result !== "object") return false;
  if ("error" in result) return typeof result.error?.message === "string";
  if ("skipped" in result) return true;
  const fits = SHAPES[role] ?? ((held: object) => "value" in held || "ref" in held);
  return fits(result);
}

const isListOf = (value: unknown, is: (item: unknown) => boolean): boolean =>
  Array.isArray(value) && value.every(is);

const isText = (item: unknown): boolean => typeof item === "string";

const isItem = (item: unknown): boolean =>
  Array.isArray(item) && typeof item[0] === "string" && typeof item[1] === "object";

/** What a definition may not say, each with its path and its reason (`PLAN_INVALID`). */
import { IsolaError } from "../../runtime/contract/index.ts";

/** Refuses the definition. `path` is where: a node, an edge `a > b`, an option. */
export function refusePlan(path: string, found: string, required: string): never {
  throw new IsolaError("PLAN_INVALID", {
    attempted: path === "" ? "define the workflow" : `define ${path}`,
    found: found.slice(0, 300),
    required,
  });
}

/** Text of anything, for messages. */
export function shown(value: unknown): string {
  if (typeof value === "function") return "a function";
  try {
    return (JSON.stringify(value) ?? String(value)).slice(0, 100);
  } catch {
    return typeof value;
  }
}

/**
 * The routing table in memory: applied changes in, routes out; no storage, no clock.
 *
 * R1 A namespace's revision only grows, also over its removal; a change at or below the known one
 *    is ignored, so changes may arrive twice or late, and a removed namespace stays removed.
 * R2 A change never leaves a route half old, half new: routes are replaced whole.
 */
import { functionKey } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import type {
  FunctionRoute,
  NamespaceRoute,
  RouteTarget,
  RoutingChange,
  RoutingSnapshot,
} from "./routing.ts";

export class RoutingTable {
  #routes = new Map<string, FunctionRoute>();
  #namespaces = new Map<string, NamespaceRoute>();
  /** Revision at which a namespace was removed, the last ones kept. */
  readonly #removed = new Map<string, number>();

  /** Replaces everything, as at start. */
  load(snapshot: RoutingSnapshot): void {
    this.#namespaces = new Map(snapshot.namespaces.map((row) => [row.namespace, row]));
    for (const { namespace, revision } of snapshot.removed ?? []) {
      this.#removed.set(namespace, revision);
    }
    this.#routes = new Map(
      snapshot.routes.map((route) => [functionKey(route.namespace, route.name), route]),
    );
  }

  /** Applies one change; false if the table is already at or past its revision (R1). */
  apply(change: RoutingChange): boolean {
    const known = this.#namespaces.get(change.namespace);
    const revision = known?.revision ?? this.#removed.get(change.namespace) ?? 0;
    if (revision >= change.revision) return false;
    if (change.row === null) {
      this.#dropNamespace(change.namespace, change.revision);
      return true;
    }
    const row = change.row ?? known;
    if (row) this.#namespaces.set(change.namespace, { ...row, revision: change.revision });
    for (const name of change.removed) this.#routes.delete(functionKey(change.namespace, name));
    for (const route of change.routes) {
      this.#routes.set(functionKey(route.namespace, route.name), route);
    }
    return true;
  }

  route(namespace: string, name: string): FunctionRoute | undefined {
    return this.#routes.get(functionKey(namespace, name));
  }

  namespace(namespace: string): NamespaceRoute | undefined {
    return this.#namespaces.get(namespace);
  }

  /** Everything, or what the namespaces that `keep` accepts hold: what one cell group may see. */
  snapshot(keep: (row: NamespaceRoute) => boolean = () => true): RoutingSnapshot {
    const namespaces = [...this.#namespaces.values()].filter(keep);
    const names = new Set(namespaces.map((row) => row.namespace));
    const routes = [...this.#routes.values()].filter((route) => names.has(route.namespace));
    const removed = [...this.#removed].map(([namespace, revision]) => ({ namespace, revision }));
    return { namespaces, routes, removed };
  }

  get functionCount(): number {
    return this.#routes.size;
  }

  #dropNamespace(namespace: string, revision: number): void {
    this.#removed.delete(namespace);
    this.#removed.set(namespace, revision);
    const [oldest] = this.#removed.keys();
    if (this.#removed.size > LIMITS.namespacesMax && oldest) this.#removed.delete(oldest);
    this.#namespaces.delete(namespace);
    const prefix = functionKey(namespace, "");
    for (const key of this.#routes.keys()) if (key.startsWith(prefix)) this.#routes.delete(key);
  }
}

/** How long a call may hold its thread: in shared cells never longer than a neighbour may wait. */
export function blockBoundMs(row: NamespaceRoute | undefined, target: RouteTarget): number {
  if (row?.cells === "dedicated") return target.maxBlockMs;
  return Math.min(target.maxBlockMs, LIMITS.sharedBlockMaxMs);
}

/**
 * Picks a target by weight.
 *
 * @param fraction uniform in [0, 1).
 */
export function pickTarget(route: FunctionRoute, fraction: number): RouteTarget | undefined {
  const { targets } = route;
  if (targets.length === 1) return targets[0];
  let left = fraction * 100;
  for (const target of targets) {
    left -= target.weight;
    if (left < 0) return target;
  }
  return targets.findLast((target) => target.weight > 0);
}

/**
 * The changes that bring a routing table to a snapshot, for those who know the table's old state.
 */
import {
  type FunctionRoute,
  type RoutingChange,
  type RoutingSnapshot,
  type RoutingTable,
} from "../contract/index.ts";

export function changesToReach(table: RoutingTable, wanted: RoutingSnapshot): RoutingChange[] {
  const present = table.snapshot();
  const routes = groupByNamespace(wanted.routes);
  const oldRoutes = groupByNamespace(present.routes);
  const names = new Set(wanted.namespaces.map((row) => row.namespace));
  const dropped = present.namespaces
    .filter((row) => !names.has(row.namespace))
    .map((row): RoutingChange => ({
      ...emptyChange(row.namespace, row.revision + 1),
      row: null,
    }));
  const changed = wanted.namespaces
    .filter((row) => (table.namespace(row.namespace)?.revision ?? 0) < row.revision)
    .map((row): RoutingChange => {
      const kept = routes.get(row.namespace) ?? [];
      const keptNames = new Set(kept.map((route) => route.name));
      const removed = (oldRoutes.get(row.namespace) ?? [])
        .map((route) => route.name)
        .filter((name) => !keptNames.has(name));
      return { ...emptyChange(row.namespace, row.revision), routes: kept, removed, row };
    });
  return [...dropped, ...changed];
}

function emptyChange(namespace: string, revision: number): RoutingChange {
  return { namespace, revision, routes: [], removed: [], collected: [] };
}

function groupByNamespace(routes: readonly FunctionRoute[]): Map<string, FunctionRoute[]> {
  return Map.groupBy(routes, (route) => route.namespace);
}

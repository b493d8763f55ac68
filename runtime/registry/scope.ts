/**
 * One change of the registry while its transaction is open.
 *
 * S1 Everything that routing must learn is noted here and becomes one `RoutingChange` a namespace,
 *    read back from the tables at the end: a change announces what is stored, not what was meant.
 * S2 Revisions and the sequence grow inside the same transaction, so a change that is not stored
 *    has no number.
 */
import type { FunctionRoute, NamespaceRoute, RoutingChange } from "../contract/index.ts";
import { readNamespaceRoute, readRoute } from "./routes.ts";
import { STATEMENTS } from "./schema.ts";
import type { Database } from "./sql.ts";

interface Touched {
  readonly routes: Set<string>;
  readonly collected: { name: string; version: number }[];
  row: boolean;
  dropped: boolean;
}

export class Scope {
  readonly db: Database;
  readonly nowMs: number;
  readonly #touched = new Map<string, Touched>();
  readonly #bundles = new Set<string>();

  constructor(db: Database, nowMs: number) {
    this.db = db;
    this.nowMs = nowMs;
  }

  touchRoute(namespace: string, name: string): void {
    this.#touch(namespace).routes.add(name);
  }

  touchNamespace(namespace: string): void {
    this.#touch(namespace).row = true;
  }

  dropNamespace(namespace: string): void {
    this.#touch(namespace).dropped = true;
  }

  /** A version is no more; its bundle goes too unless another version names it. */
  collect(namespace: string, name: string, version: number, bundleHash: string): void {
    this.#touch(namespace).collected.push({ name, version });
    this.#bundles.add(bundleHash);
  }

  /** Next number of a counter that never goes back. */
  count(kind: "version" | "revision" | "sequence" | "generation", owner: string): number {
    const value = (this.db.first(STATEMENTS.counterGet, kind, owner)?.value ?? 0) + 1;
    this.db.all(STATEMENTS.counterPut, kind, owner, value);
    return value;
  }

  /** Ends the change: numbers it and says what it did (S1, S2). */
  finish(): { sequence: number; changes: RoutingChange[]; freedBundles: string[] } {
    const changes = [...this.#touched].map(([namespace, touched]) =>
      this.#announce(namespace, touched),
    );
    const sequence =
      changes.length > 0
        ? this.count("sequence", "")
        : (this.db.first(STATEMENTS.counterGet, "sequence", "")?.value ?? 0);
    const freedBundles = [...this.#bundles].filter(
      (hash) => this.db.first(STATEMENTS.bundleNamed, hash) === undefined,
    );
    return { sequence, changes, freedBundles };
  }

  #touch(namespace: string): Touched {
    let touched = this.#touched.get(namespace);
    if (touched === undefined) {
      touched = { routes: new Set(), collected: [], row: false, dropped: false };
      this.#touched.set(namespace, touched);
    }
    return touched;
  }

  #announce(namespace: string, touched: Touched): RoutingChange {
    const revision = this.count("revision", namespace);
    const { collected } = touched;
    if (touched.dropped) {
      return { namespace, revision, routes: [], removed: [], row: null, collected };
    }
    const routes: FunctionRoute[] = [];
    const removed: string[] = [];
    for (const name of touched.routes) {
      const route = readRoute(this.db, namespace, name);
      if (route) routes.push(route);
      else removed.push(name);
    }
    const row: NamespaceRoute | undefined = touched.row
      ? readNamespaceRoute(this.db, namespace, revision)
      : undefined;
    return {
      namespace,
      revision,
      routes,
      removed,
      collected,
      ...(row === undefined ? {} : { row }),
    };
  }
}

import { posix } from "node:path";
import { NODE_MODULES_IN_WORKERS, NODE_ROOMS, ROOMS, roomOf } from "../matrix.ts";
import { type Finding, type Repository, type SourceFile, at } from "../repository.ts";
import type { Rule } from "../rule.ts";

const INDEX = /^index(\.worker)?\.ts$/;
const INTERNAL = /^internal(\.worker)?\.ts$/;

const isWorkerFile = (path: string): boolean => /\.worker(\.d)?\.ts$/.test(path);
const isNodeFile = (path: string): boolean =>
  !isWorkerFile(path) && NODE_ROOMS.includes(roomOf(path) ?? "");

type Link = SourceFile["imports"][number];

/** Why an import across rooms is wrong, or undefined. */
function crossingFault(from: string, link: Link, target: string): string | undefined {
  const room = roomOf(from);
  const other = roomOf(target);
  if (room === undefined || room === other) return undefined;
  if (other === undefined) return `${target} belongs to no room`;
  const { imports, reach, embeds = [] } = ROOMS[room] ?? { imports: [] };
  if (reach === "any") return undefined;
  const permitted = link.isEmbedded ? embeds : imports;
  return permitted.includes(other) ? undefined : `${room} does not import ${other}`;
}

/** Why an import reaches past a room's door, or undefined. */
function doorFault(from: string, link: Link, target: string): string | undefined {
  const other = roomOf(target);
  if (other === undefined || roomOf(from) === other || link.isEmbedded) return undefined;
  if (ROOMS[other]?.isOpen) return undefined;
  const inside = posix.relative(other, target);
  if (INDEX.test(inside) || (from.startsWith("test/") && INTERNAL.test(inside))) return undefined;
  return `${target} is not the index of ${other}`;
}

function folderFault(from: string, target: string): string | undefined {
  const room = roomOf(from);
  if (room === undefined || room !== roomOf(target)) return undefined;
  if (ROOMS[room]?.hasSeparateFolders !== true) return undefined;
  const folder = (path: string) => posix.relative(room, path).split("/").slice(0, -1)[0];
  const own = folder(from);
  const other = folder(target);
  if (own === undefined || other === undefined || own === other) return undefined;
  return `${room}/${own} does not import ${room}/${other}`;
}

const overLinks =
  (fault: (from: string, link: Link, target: string) => string | undefined) =>
  ({ sources }: Repository): Finding[] =>
    sources.flatMap((source) =>
      source.imports.flatMap((link) => {
        const message =
          link.target === undefined ? undefined : fault(source.path, link, link.target);
        return message === undefined ? [] : [at(source, link.offset, message)];
      }),
    );

/** Each cycle once, as the paths along it. Embedded text links nothing, so it closes no cycle. */
function cyclesOf({ sources }: Repository): string[][] {
  const links = new Map(
    sources.map((source) => [
      source.path,
      source.imports.flatMap((link) => (link.isEmbedded ? [] : (link.target ?? []))),
    ]),
  );
  const done = new Set<string>();
  const cycles: string[][] = [];
  const visit = (path: string, trail: string[]): void => {
    const seen = trail.indexOf(path);
    if (seen !== -1) {
      cycles.push([...trail.slice(seen), path]);
      return;
    }
    if (done.has(path)) return;
    for (const next of links.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of links.keys()) visit(path, []);
  return cycles;
}

function worldFault(from: string, specifier: string): string | undefined {
  if (isNodeFile(from)) {
    const isWorker = isWorkerFile(specifier.replace(/\?bundle$/, ""));
    return isWorker ? "a Node file imports no worker file: bundle it" : undefined;
  }
  if (roomOf(from) === undefined) return undefined;
  if (!isWorkerFile(from) && isWorkerFile(specifier)) return "a pure file imports no worker file";
  const isListed = specifier in NODE_MODULES_IN_WORKERS;
  return specifier.startsWith("node:") && !isListed ? `${specifier} is for Node alone` : undefined;
}

export const IMPORT_RULES: readonly Rule[] = [
  {
    name: "rooms import only what the matrix allows",
    check: overLinks(crossingFault),
    breaks: [
      { "store/a.ts": 'import type { A } from "../workflow/index.ts";' },
      { "workflow/a.ts": 'export { a } from "../store/index.ts";' },
      { "runtime/contract/a.ts": 'type A = import("../sdk/index.ts").A;' },
      { "functions/a.ts": 'await import("../runtime/host/index.ts");' },
      { "runtime/gateway/a.ts": 'import a from "../sdk/index.ts?bundle";' },
      { "runtime/registry/a.ts": 'import { a } from "../sdk/index.ts";' },
      { "runtime/host/a.ts": 'import { a } from "../../package.json";' },
    ],
    keeps: [
      { "functions/a.ts": 'import type { A } from "isola";' },
      { "runtime/sdk/a.ts": 'import { flow } from "../../workflow/builder/index.ts";' },
      { "runtime/cell/a.ts": 'import a from "../sdk/index.ts?bundle";' },
      { "store/a.ts": 'import { b } from "./b.ts";' },
    ],
  },
  {
    name: "a room is entered through its index, by tests also through internal.ts",
    check: overLinks(doorFault),
    breaks: [
      { "store/a.ts": 'import { a } from "../runtime/contract/ids.ts";' },
      { "store/a.ts": 'import { a } from "../runtime/contract/internal.ts";' },
      { "test/unit/a.test.ts": 'import { a } from "../../store/table.ts";' },
    ],
    keeps: [
      { "test/unit/a.test.ts": 'import { a } from "../../store/internal.ts";' },
      { "test/unit/a.test.ts": 'import a from "../../functions/a.ts";' },
      { "runtime/cell/a.worker.ts": 'import { a } from "../../store/index.worker.ts";' },
    ],
  },
  {
    name: "backends do not know each other",
    check: overLinks((from, _link, target) => folderFault(from, target)),
    breaks: [{ "runtime/backends/gvisor/a.ts": 'import { a } from "../container/b.ts";' }],
    keeps: [
      { "runtime/backends/gvisor/a.ts": 'import { a } from "../port-pool.ts";' },
      { "runtime/backends/index.ts": 'export { a } from "./gvisor/a.ts";' },
    ],
  },
  {
    name: "no import closes a cycle, of types either",
    check: (repository) =>
      cyclesOf(repository).map((cycle) => ({
        path: cycle[0] ?? "",
        line: 1,
        message: cycle.join(" → "),
      })),
    breaks: [
      {
        "store/a.ts": 'import type { B } from "./b.ts";',
        "store/b.ts": 'import type { C } from "./c.ts";',
        "store/c.ts": 'export { a } from "./a.ts";',
      },
    ],
    keeps: [
      {
        "store/a.ts": 'import { b } from "./b.ts"; import { c } from "./c.ts";',
        "store/b.ts": 'import { c } from "./c.ts";',
        "store/c.ts": "",
      },
    ],
  },
  {
    name: "worker, pure and Node files stay in their worlds",
    check: ({ sources }) =>
      sources.flatMap((source) =>
        source.imports.flatMap((link) => {
          const fault = worldFault(source.path, link.specifier);
          return fault === undefined ? [] : [at(source, link.offset, fault)];
        }),
      ),
    breaks: [
      { "runtime/cell/a.worker.ts": 'import { a } from "node:fs";' },
      { "store/a.ts": 'import { a } from "node:crypto";' },
      { "store/a.ts": 'import { a } from "./b.worker.ts";' },
      { "runtime/host/a.ts": 'import { a } from "./b.worker.ts";' },
      { "test/unit/a.test.ts": 'import { a } from "../../store/internal.worker.ts";' },
    ],
    keeps: [
      { "runtime/cell/a.worker.ts": 'import { a } from "node:async_hooks";' },
      { "runtime/host/a.ts": 'import { a } from "node:fs";' },
    ],
  },
  {
    name: "an index names what it exports",
    check: ({ sources }) =>
      sources.flatMap((source) =>
        source.module.staticExports
          .flatMap((statement) => statement.entries)
          .filter((entry) => entry.importName.kind.startsWith("All"))
          .map((entry) => at(source, entry.start, "export * hides what leaves the room")),
      ),
    breaks: [
      { "store/index.ts": 'export * from "./table.ts";' },
      { "store/index.ts": 'export * as table from "./table.ts";' },
    ],
    keeps: [{ "store/index.ts": 'export { table } from "./table.ts";' }],
  },
];

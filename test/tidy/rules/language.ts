import { posix } from "node:path";
import {
  MAY_EXPORT_DEFAULT,
  MAY_THROW_BARE_ERRORS,
  MAY_USE_CLOCK_AND_CHANCE,
  isAllowed,
} from "../allow.ts";
import {
  type Finding,
  type Node,
  type Repository,
  type SourceFile,
  at,
  childOf,
  nameOf,
  nodesOf,
} from "../repository.ts";
import type { Rule } from "../rule.ts";

const PLATFORM = /^(runtime|workflow|store)\//;
const TIMERS = new Set(["setTimeout", "setInterval", "setImmediate"]);
const TIMER_MODULES = new Set(["node:timers", "node:timers/promises"]);
const READINGS = new Set(["Date.now", "Math.random", "performance.now", "process.hrtime"]);
// In capitals, as all of ours is written; prose may select from what it likes.
const SQL = new RegExp(
  [
    String.raw`^\s*(SELECT\s+\S[^]*\sFROM`,
    String.raw`(INSERT(\s+OR\s+\w+)?|REPLACE)\s+INTO`,
    String.raw`UPDATE\s+\S+\s+SET`,
    String.raw`DELETE\s+FROM`,
    String.raw`(CREATE|DROP|ALTER)\s+(UNIQUE\s+)?(TABLE|INDEX)`,
    String.raw`PRAGMA)\s`,
  ].join("|"),
);

/** Findings of a test over single nodes. */
const overNodes =
  (applies: (source: SourceFile) => boolean, fault: (node: Node) => string | undefined) =>
  ({ sources }: Repository): Finding[] =>
    sources.filter(applies).flatMap((source) =>
      nodesOf(source).flatMap((node) => {
        const message = fault(node);
        return message === undefined ? [] : [at(source, node.start, message)];
      }),
    );

function looseTyping(node: Node): string | undefined {
  if (node.type === "TSAnyKeyword") return "any";
  if (node.type === "TSNonNullExpression") return "a non-null assertion";
  if (node.type === "TSEnumDeclaration") return "an enum";
  return undefined;
}

function readsClockOrChance(node: Node): string | undefined {
  if (node.type === "MemberExpression") {
    const [object, property] = [childOf(node, "object"), childOf(node, "property")];
    const name = `${nameOf(object) ?? ""}.${nameOf(property) ?? ""}`;
    return READINGS.has(name) ? name : undefined;
  }
  if (node.type === "NewExpression" && nameOf(childOf(node, "callee")) === "Date") {
    return (node["arguments"] as unknown[]).length === 0 ? "new Date()" : undefined;
  }
  if (node.type === "CallExpression") {
    const name = nameOf(childOf(node, "callee")) ?? "";
    return TIMERS.has(name) ? name : undefined;
  }
  if (node.type === "ImportDeclaration") {
    const name = nameOf(childOf(node, "source")) ?? "";
    return TIMER_MODULES.has(name) ? name : undefined;
  }
  return undefined;
}

function throwsBareError(node: Node): string | undefined {
  const makes = node.type === "NewExpression" || node.type === "CallExpression";
  const isError = makes && nameOf(childOf(node, "callee")) === "Error";
  return isError ? "a bare Error has no code" : undefined;
}

function holdsSql(node: Node): string | undefined {
  const text =
    node.type === "TemplateElement"
      ? (node["value"] as { readonly raw: string }).raw
      : nameOf(node.type === "Literal" ? node : undefined);
  return text !== undefined && SQL.test(text) ? "SQL outside a schema.ts" : undefined;
}

function mayExportDefault(path: string): boolean {
  return (
    /^(functions|test\/fixtures|bench\/fixtures)\//.test(path) ||
    /(^|\/)entry\.worker\.ts$|\.config\.ts$|\.d\.ts$/.test(path) ||
    /^(test|bench)\/.*\.worker\.ts$/.test(path) ||
    isAllowed(MAY_EXPORT_DEFAULT, path)
  );
}

const isPlatform = ({ path }: SourceFile): boolean => PLATFORM.test(path);

export const LANGUAGE_RULES: readonly Rule[] = [
  {
    name: "types are neither switched off nor enumerated",
    check: overNodes(({ path }) => !path.endsWith(".d.ts"), looseTyping),
    breaks: [
      { "store/a.ts": "let a: any;" },
      { "store/a.ts": "f(a as unknown as Map<string, any>);" },
      { "test/unit/a.test.ts": "f(a!.b);" },
      { "store/a.ts": "enum E { A }" },
    ],
    keeps: [{ "store/a.ts": 'let any: unknown = "any"; if (!any) f();' }],
  },
  {
    name: "clock, chance and timers come as arguments",
    check: overNodes(
      (source) =>
        isPlatform(source) &&
        !posix.basename(source.path).startsWith("system-") &&
        !isAllowed(MAY_USE_CLOCK_AND_CHANCE, source.path),
      readsClockOrChance,
    ),
    breaks: [
      { "store/a.ts": "const now = Date.now();" },
      { "store/a.ts": "f(Date.now);" },
      { "runtime/host/a.ts": "const at = new Date();" },
      { "workflow/a.ts": "setTimeout(f, 1);" },
      { "runtime/cell/a.worker.ts": "const n = Math.random();" },
      { "runtime/host/a.ts": 'import { setTimeout as sleep } from "node:timers/promises";' },
    ],
    keeps: [
      { "store/a.ts": "const at = new Date(clock.now());" },
      { "runtime/host/system-clock.ts": "export const now = () => Date.now();" },
      { "bench/a.ts": "const now = Date.now();" },
    ],
  },
  {
    name: "errors of the platform come from the catalogue",
    check: overNodes(
      (source) => isPlatform(source) && !isAllowed(MAY_THROW_BARE_ERRORS, source.path),
      throwsBareError,
    ),
    breaks: [{ "store/a.ts": 'throw new Error("no");' }, { "store/a.ts": 'throw Error("no");' }],
    keeps: [
      { "store/a.ts": 'throw platformError("DISK_FULL");' },
      { "functions/a.ts": 'throw new Error("no");' },
    ],
  },
  {
    name: "only entries, functions and configurations export by default",
    check: ({ sources }) =>
      sources
        .filter(({ path }) => !mayExportDefault(path))
        .flatMap((source) =>
          source.module.staticExports
            .flatMap((statement) => statement.entries)
            .filter(
              (entry) => entry.exportName.kind === "Default" || entry.exportName.name === "default",
            )
            .map((entry) => at(source, entry.start, "a default export has no name")),
        ),
    breaks: [
      { "store/a.ts": "export default 1;" },
      { "store/a.ts": "const a = 1; export { a as default };" },
    ],
    keeps: [
      { "runtime/cell/entry.worker.ts": "export default {};" },
      { "functions/a.ts": "export default () => 1;" },
    ],
  },
  {
    name: "SQL lives in schema.ts",
    check: overNodes(
      (source) => isPlatform(source) && posix.basename(source.path) !== "schema.ts",
      holdsSql,
    ),
    breaks: [
      { "store/a.ts": 'sql.exec("SELECT key FROM objects WHERE job = ?", job);' },
      { "store/a.ts": "sql.exec(`\n  INSERT OR REPLACE INTO objects (key) VALUES (${key})`);" },
      { "store/a.worker.ts": 'sql.exec("CREATE TABLE objects (key TEXT)");' },
    ],
    keeps: [
      { "store/schema.ts": 'export const get = "SELECT key FROM objects";' },
      { "store/a.ts": 'log("select one of the functions from the list");' },
    ],
  },
];

import { posix } from "node:path";
import { type Finding, type Node, at, childOf, nameOf, nodesOf } from "../repository.ts";
import type { Rule } from "../rule.ts";

const EMPTY_NAMES = /(^|[-.])(utils?|common|misc|helpers?|stuff)([-.]|$)/;
const KEBAB_CASE = /^[a-z0-9]+(-[a-z0-9]+)*(\.(worker|test|config|d|bench))*\.ts$/;
const UNITLESS =
  /^(timeout|ttl|size|duration|delay|interval)$|(Timeout|Ttl|Size|Duration|Delay|Interval)$/;
const KEYED = new Set(["Property", "PropertyDefinition", "TSPropertySignature"]);
const WISHES = /\b(should|shall|will)\b/i;

/** A quantity's name where tables and stored rows are written down. */
function declaresQuantities(path: string): boolean {
  if (path.endsWith(".d.ts")) return false;
  return path.startsWith("runtime/contract/") || posix.basename(path) === "schema.ts";
}

/** The title of a call to `it`, `test` or `describe`, in whatever form it is made. */
function titleOf(node: Node): string | undefined {
  if (node.type !== "CallExpression") return undefined;
  let callee = childOf(node, "callee");
  while (callee?.type === "MemberExpression" || callee?.type === "CallExpression") {
    callee = childOf(callee, callee.type === "MemberExpression" ? "object" : "callee");
  }
  if (!/^(it|test|describe)$/.test(nameOf(callee) ?? "")) return undefined;
  const title = (node["arguments"] as readonly Node[])[0];
  return title?.type === "Literal" ? nameOf(title) : undefined;
}

export const NAMING_RULES: readonly Rule[] = [
  {
    name: "files and folders are named for an idea",
    check: ({ texts }) =>
      [...texts.keys()]
        .filter((path) => path.split("/").some((part) => EMPTY_NAMES.test(part)))
        .map((path): Finding => ({ path, line: 1, message: "the name says nothing" })),
    breaks: [
      { "store/utils.ts": "" },
      { "store/common/a.ts": "" },
      { "test/test-helper.ts": "" },
      { "store/misc.worker.ts": "" },
    ],
    keeps: [{ "store/community.ts": "" }, { "runtime/cell/utilization.ts": "" }],
  },
  {
    name: "source files are in kebab case",
    check: ({ sources }) =>
      sources
        .filter(({ path }) => !/^(functions|test\/fixtures|bench\/fixtures)\//.test(path))
        .filter(({ path }) => !KEBAB_CASE.test(posix.basename(path)))
        .map((source) => at(source, 0, "not in kebab case")),
    breaks: [{ "store/hashRing.ts": "" }, { "store/hash_ring.ts": "" }, { "store/Ring.ts": "" }],
    keeps: [{ "store/hash-ring.worker.ts": "" }, { "vitest.config.ts": "" }],
  },
  {
    name: "quantities in the contract and in tables end with their unit",
    check: ({ sources }) =>
      sources
        .filter(({ path }) => declaresQuantities(path))
        .flatMap((source) =>
          nodesOf(source)
            .filter((node) => KEYED.has(node.type))
            .flatMap((node) => {
              const name = nameOf(childOf(node, "key"));
              if (name === undefined || !UNITLESS.test(name)) return [];
              return [at(source, node.start, `${name} has no unit`)];
            }),
        ),
    breaks: [
      { "runtime/contract/options.ts": "export const o = { timeout: 1 };" },
      { "runtime/contract/options.ts": "export interface O { bodyTimeout: number }" },
      { "store/schema.ts": "export interface Row { readonly 'ttl': number }" },
    ],
    keeps: [
      { "runtime/contract/options.ts": "export const o = { timeoutMs: 1, sizeBytes: 2 };" },
      { "runtime/host/a.ts": "spawn({ timeout: 1 });" },
    ],
  },
  {
    name: "tests state what happens",
    check: ({ sources }) =>
      sources
        .filter(({ path }) => path.endsWith(".test.ts"))
        .flatMap((source) =>
          nodesOf(source).flatMap((node) => {
            const title = titleOf(node);
            if (title === undefined || !WISHES.test(title)) return [];
            return [at(source, node.start, `"${title}" is not in the present tense`)];
          }),
        ),
    breaks: [
      { "test/unit/a.test.ts": 'it("should answer", () => {});' },
      { "test/unit/a.test.ts": 'describe("a", () => { test.each([1])("will answer", f); });' },
      { "test/unit/a.test.ts": 'it.skipIf(x)("shall answer", f);' },
    ],
    keeps: [{ "test/unit/a.test.ts": 'it("answers", () => { log("should"); });' }],
  },
];

import { type Finding, type Node, type SourceFile, at, lineOf, nodesOf } from "../repository.ts";
import type { Rule } from "../rule.ts";

const FUNCTION_MAX_LINES = 70;
const FILE_MAX_LINES = 600;
const TEST_FILE_MAX_LINES = 800;
const LINE_MAX_COLUMNS = 100;
const WAIVER = /^\s*tidy: long-function (\S.{9,})$/;

const FUNCTIONS = new Set(["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"]);

interface LongFunction {
  readonly source: SourceFile;
  readonly node: Node;
  readonly lines: number;
  /** The reason given in the comment above it or at its top. */
  readonly waiver: string | undefined;
}

function waiverOf(source: SourceFile, node: Node): string | undefined {
  const first = lineOf(source.text, node.start);
  for (const comment of source.comments) {
    const line = lineOf(source.text, comment.start);
    if (line < first - 1 || line > first + 1) continue;
    const reason = WAIVER.exec(comment.value)?.[1];
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/** Suites of tests nest callbacks: there the limit counts for the innermost ones only. */
function isSuite(source: SourceFile, node: Node): boolean {
  if (!source.path.endsWith(".test.ts")) return false;
  return /\bdescribe(\.\w+)?(\([^)]*\))?\([^;]*$/.test(
    source.text.slice(0, node.start).slice(-160),
  );
}

export function longFunctionsOf(source: SourceFile): LongFunction[] {
  return nodesOf(source)
    .filter((node) => FUNCTIONS.has(node.type))
    .map((node) => ({
      source,
      node,
      lines: lineOf(source.text, node.end) - lineOf(source.text, node.start) + 1,
    }))
    .filter(({ node, lines }) => lines > FUNCTION_MAX_LINES && !isSuite(source, node))
    .map((found) => ({ ...found, waiver: waiverOf(source, found.node) }));
}

const lines = (count: number, text: string): string => `${text}\n`.repeat(count);
const isTest = (path: string): boolean => path.startsWith("test/");

export const LENGTH_RULES: readonly Rule[] = [
  {
    name: `functions fit in ${String(FUNCTION_MAX_LINES)} lines, or say why not`,
    check: ({ sources }) =>
      sources
        .flatMap(longFunctionsOf)
        .filter(({ waiver }) => waiver === undefined)
        .map((found) =>
          at(found.source, found.node.start, `a function of ${String(found.lines)} lines`),
        ),
    breaks: [
      { "store/a.ts": `function f() {\n${lines(70, "g();")}}` },
      { "store/a.ts": `const f = () => {\n${lines(70, "g();")}};` },
      { "store/a.ts": `// tidy: long-function\nfunction f() {\n${lines(70, "g();")}}` },
    ],
    keeps: [
      { "store/a.ts": `function f() {\n${lines(68, "g();")}}` },
      {
        "store/a.ts": `// tidy: long-function a flat table\nfunction f() {\n${lines(70, "g();")}}`,
      },
      { "test/unit/a.test.ts": `describe("a", () => {\n${lines(90, "g();")}});` },
    ],
  },
  {
    name: `files fit in ${String(FILE_MAX_LINES)} lines, tests in ${String(TEST_FILE_MAX_LINES)}`,
    check: ({ sources }) =>
      sources.flatMap((source) => {
        const count = source.text.trimEnd().split("\n").length;
        const limit = isTest(source.path) ? TEST_FILE_MAX_LINES : FILE_MAX_LINES;
        return count > limit ? [at(source, 0, `${String(count)} lines`)] : [];
      }),
    breaks: [
      { "store/a.ts": lines(FILE_MAX_LINES + 1, "g();") },
      { "test/unit/a.test.ts": lines(TEST_FILE_MAX_LINES + 1, "g();") },
    ],
    keeps: [
      { "store/a.ts": lines(FILE_MAX_LINES, "g();") },
      { "test/unit/a.test.ts": lines(TEST_FILE_MAX_LINES, "g();") },
    ],
  },
  {
    name: `lines of code fit in ${String(LINE_MAX_COLUMNS)} columns`,
    check: ({ sources }) =>
      sources.flatMap((source) =>
        source.text.split("\n").flatMap((line, index): Finding[] => {
          if (line.length <= LINE_MAX_COLUMNS || /https?:\/\/\S+$/.test(line)) return [];
          return [
            { path: source.path, line: index + 1, message: `${String(line.length)} columns` },
          ];
        }),
      ),
    breaks: [{ "store/a.ts": `// ${"x".repeat(LINE_MAX_COLUMNS)}` }],
    keeps: [{ "store/a.ts": `// https://example.org/${"x".repeat(LINE_MAX_COLUMNS)}` }],
  },
];

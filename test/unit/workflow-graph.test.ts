/** The graph of a definition and of a run, as data, DOT and Mermaid. */
import { describe, expect, it } from "vitest";
import {
  type HistoryEntry,
  graphOfPlan,
  graphOfRun,
  graphOfSteps,
  toDot,
  toMermaid,
} from "../../workflow/index.ts";
import { flow } from "../../workflow/builder/index.ts";
import { WorkflowWorld } from "../support/workflow-world.ts";

const FLOW = flow((dag) => {
  dag
    .node("start")
    .apply("double")
    .modify((n) => n);
  const { even, odd } = dag.conditionalBranch("parity", ["even", "odd"], () => ["even"]);
  even.node("x").sleep(5);
  odd.node("x");
  dag.conditionalBranch("unused", ["a"], () => []).a.node("y");
  const each = dag.forEachBranch("each", () => ["p", "q"]);
  each.node("w").apply("double");
  dag.edge("start", "parity");
  dag.edge("parity", "unused", { execution: true });
  dag.edge("unused", "each", { forwarder: () => 1 });
});

const withOdd = flow((dag) => {
  const { even, odd } = dag.conditionalBranch("c", ["even", "odd"], () => ["even"]);
  even.node("x").apply("double");
  odd.node("x").invoke("other");
});

const { plan } = withOdd.evaluate({ input: 1, query: {}, headers: {} });

describe("the graph of a definition", () => {
  it("has every node and edge, and the DAGs inside of others", () => {
    expect(graphOfPlan(plan)).toStrictEqual({
      nodes: [
        { id: "c", kind: "conditional", operations: [] },
        { id: "c.even.x", kind: "chain", operations: ["apply double"] },
        { id: "c.odd.x", kind: "chain", operations: ["invoke other"] },
      ],
      edges: [
        { from: "c", to: "c.even.x", kind: "contains", label: "even" },
        { from: "c", to: "c.odd.x", kind: "contains", label: "odd" },
      ],
    });
  });

  it("is DOT", () => {
    expect(toDot(graphOfPlan(plan))).toBe(
      [
        "digraph workflow {",
        '  "c" [shape=diamond, label="c"];',
        String.raw`  "c.even.x" [shape=box, label="c.even.x\napply double"];`,
        String.raw`  "c.odd.x" [shape=box, label="c.odd.x\ninvoke other"];`,
        '  "c" -> "c.even.x" [style=dotted, label="even"];',
        '  "c" -> "c.odd.x" [style=dotted, label="odd"];',
        "}",
        "",
      ].join("\n"),
    );
  });

  it("is Mermaid", () => {
    expect(toMermaid(graphOfPlan(plan))).toBe(
      [
        "flowchart TD",
        '  n0{"c"}',
        '  n1["c.even.x<br>apply double"]',
        '  n2["c.odd.x<br>invoke other"]',
        '  n0 -.->|"even"| n1',
        '  n0 -.->|"odd"| n2',
        "",
      ].join("\n"),
    );
  });

  it("quotes what an author may write", () => {
    const graph = {
      nodes: [{ id: 'a"b\\', kind: "chain" as const, operations: ['request http://x/?q="];'] }],
      edges: [],
    };
    expect(toDot(graph)).toContain(String.raw`"a\"b\\"`);
    expect(toMermaid(graph).split('"').length).toBe(3);
  });
});

describe("the graph of a run that failed", () => {
  it("says where", async () => {
    const failing = flow((dag) => {
      dag.node("a").apply("double").apply("fail");
      dag.node("b");
      dag.edge("a", "b");
    });
    const functions = {
      double: (n: unknown) => n,
      fail: () => {
        throw new Error("no");
      },
    };
    const world = new WorkflowWorld({ flow: failing, functions });
    await world.finish();
    const graph = graphOfRun(world.run.state);
    expect(graph.nodes.map(({ id, phase }) => [id, phase])).toStrictEqual([
      ["a", "failed"],
      ["b", "idle"],
    ]);
    expect(toMermaid(graph)).toContain(":::failed");
  });
});

const line = (type: HistoryEntry["type"], step?: string): HistoryEntry => ({
  atMs: 0,
  type,
  ...(step !== undefined && { step, what: "do" }),
});

describe("the graph of code", () => {
  it("leads to a step from those that had ended when it began, and are not led over others", () => {
    const graph = graphOfSteps([
      line("runStarted"),
      line("stepStarted", "a"),
      line("stepCompleted", "a"),
      line("stepStarted", "b"),
      line("stepStarted", "c"),
      line("stepCompleted", "c"),
      line("stepCompleted", "b"),
      line("stepStarted", "d"),
      line("attemptFailed", "d"),
      line("stepFailed", "d"),
      line("stepStarted", "e"),
    ]);
    expect(graph.nodes.map(({ id, phase }) => `${id} ${phase ?? ""}`)).toStrictEqual([
      "a done",
      "b done",
      "c done",
      "d failed",
      "e active",
    ]);
    expect(graph.edges.map(({ from, to }) => from + to)).toStrictEqual([
      "ab",
      "ac",
      "bd",
      "cd",
      "de",
    ]);
  });
});

describe("a request in a graph", () => {
  it("is said without what its address may carry", () => {
    const calls = flow((dag) => dag.node("a").request("https://x.test/a?token=secret#b"));
    const evaluated = calls.evaluate({ input: 1, query: {}, headers: {} });
    expect(graphOfPlan(evaluated.plan).nodes[0]?.operations).toStrictEqual([
      "request https://x.test/a",
    ]);
  });
});

describe("the graph of a run", () => {
  it("has the branches that were taken, the items that there are, and how far it got", async () => {
    const world = new WorkflowWorld({ flow: FLOW, functions: { double: (n) => n } });
    while (world.history("stepStarted").length < 2) await world.act();
    const phases = (): string[] =>
      graphOfRun(world.run.state).nodes.map(({ id, phase }) => `${id} ${phase ?? ""}`);
    expect(phases()).toStrictEqual([
      "start done",
      "parity active",
      "unused idle",
      "each idle",
      "parity.even.x active",
    ]);
    await world.finish();
    expect(phases().slice(1)).toStrictEqual([
      "parity done",
      "unused done",
      "each done",
      "parity.even.x done",
      "each[0].w done",
      "each[1].w done",
    ]);
    const graph = graphOfRun(world.run.state);
    expect(graph.edges).toContainEqual({ from: "parity", to: "unused", kind: "execution" });
    expect(graph.edges).toContainEqual({
      from: "each",
      to: "each[1].w",
      kind: "contains",
      label: "[1]",
    });
    expect(toDot(graph)).toContain("fillcolor=lightgreen");
    expect(toMermaid(graph)).toContain(":::done");
  });
});

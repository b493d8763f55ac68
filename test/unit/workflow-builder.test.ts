/** Definitions become plans, or are refused with path and reason. */
import { describe, expect, expectTypeOf, it } from "vitest";
import { IsolaError } from "../../runtime/contract/index.ts";
import { type Flow, flow, planHash, validatePlan } from "../../workflow/builder/index.ts";

const REQUEST = { input: undefined, query: {}, headers: {} };
type Define = Parameters<typeof flow>[0];
type Dag = Parameters<Define>[0];

const planOf = (define: Define) => flow(define).evaluate(REQUEST).plan;

function refusal(work: () => unknown): IsolaError {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof IsolaError && thrown.code === "PLAN_INVALID") return thrown;
    throw thrown;
  }
  throw new Error("nothing was refused");
}

const chainOf = (dag: Dag, ...ids: string[]): void => {
  for (const [at, id] of ids.entries()) {
    dag.node(id);
    const before = ids[at - 1];
    if (before !== undefined) dag.edge(before, id);
  }
};

const chain =
  (count: number): Define =>
  (dag) => {
    chainOf(dag, ...Array.from({ length: count }, (_v, at) => `n${String(at)}`));
  };

const doubling: Define = (dag) => {
  let inner = dag.newDag();
  inner.node("a");
  for (let at = 0; at < 20; at += 1) {
    const outer = dag.newDag();
    outer.subDag("a", inner);
    outer.subDag("b", inner);
    outer.edge("a", "b");
    inner = outer;
  }
  dag.subDag("all", inner);
};

describe("the example of the interface", () => {
  const example = flow(
    (dag, request) => {
      dag.node("start").modify((n) => Number(n));
      const parity = dag.conditionalBranch(
        "parity",
        ["even", "odd"],
        (n) => [n % 2 ? "odd" : "even"],
        { aggregator: (results) => Object.values(results)[0] },
      );
      parity.even.node("double").apply("double");
      parity.odd
        .node("increment")
        .apply("increment", { retry: { limit: 3, delayMs: 100, backoff: "exponential" } });
      const each = dag.forEachBranch(
        "each",
        (n) => Object.fromEntries([...Array(n).keys()].map((i) => [String(i), i])),
        { aggregator: (results) => Object.values(results) },
      );
      each
        .node("work")
        .apply("work")
        .modify((v) => v + 1);
      dag
        .node("end", { aggregator: (inputs) => inputs.each })
        .modify((list: number[]) => ({ sum: list.reduce((a, b) => a + b, 0), of: request.input }));
      dag.edge("start", "parity");
      dag.edge("parity", "each", { forwarder: (v) => Math.min(v, 100) });
      dag.edge("each", "end");
      dag.onFailure((_error) => ({ fallback: true }));
      dag.finally((_state) => {});
    },
    { durability: "step" },
  );

  it("is a plan, with its hooks by name", () => {
    const { plan, hooks } = example.evaluate(REQUEST);
    expect(plan.dag.nodes.map(({ id, kind }) => `${id}: ${kind}`)).toStrictEqual([
      "start: chain",
      "parity: conditional",
      "each: forEach",
      "end: chain",
    ]);
    expect([...hooks.keys()].sort()).toStrictEqual([
      "each.work/1/modify",
      "each/aggregator",
      "each/split",
      "end/0/modify",
      "end/aggregator",
      "finally",
      "onFailure",
      "parity/aggregator",
      "parity/condition",
      "parity>each/forwarder",
      "start/0/modify",
    ]);
  });

  it("has one hash, whatever the order of its fields", async () => {
    const { plan } = example.evaluate(REQUEST);
    const turned = Object.fromEntries(Object.entries(plan).reverse());
    expect(await planHash(turned)).toBe(await planHash(plan));
    expect(await planHash({ ...plan, durability: "run" })).not.toBe(await planHash(plan));
    expect(await planHash(example.evaluate(REQUEST).plan)).toBe(await planHash(plan));
  });

  it("is checked again as data: what an isolate hands over", () => {
    const { plan } = example.evaluate(REQUEST);
    expect(validatePlan(structuredClone(plan))).toStrictEqual(plan);
    for (const broken of [
      null,
      [],
      { ...plan, format: 2 },
      { ...plan, durability: "none" },
      { ...plan, dag: undefined },
      { ...plan, extra: 1 },
      { ...plan, dag: { nodes: {}, edges: [] } },
      { ...plan, dag: { nodes: [{ id: "a", kind: "chain", operations: [{}] }], edges: [] } },
      { ...plan, dag: { nodes: [{ id: "__proto__", kind: "chain", operations: [] }], edges: [] } },
    ]) {
      expect(refusal(() => validatePlan(broken)).code).toBe("PLAN_INVALID");
    }
  });
});

describe("a definition is refused, with path and reason", () => {
  it.each<[string, Define, string, string]>([
    ["no node", () => {}, "the workflow", "no node"],
    [
      "two starts",
      (dag) => {
        dag.node("a");
        dag.node("b");
      },
      "the workflow",
      "the starts a, b",
    ],
    [
      "a cycle",
      (dag) => {
        chainOf(dag, "a", "b", "c", "d");
        dag.edge("d", "b");
      },
      "the workflow",
      "the cycle",
    ],
    [
      "a cycle that nothing leads to",
      (dag) => {
        chainOf(dag, "a", "b");
        chainOf(dag, "x", "y");
        dag.edge("y", "x");
      },
      "the workflow",
      "the cycle",
    ],
    ["an edge to itself", (dag) => (chainOf(dag, "a"), dag.edge("a", "a")), "a > a", "itself"],
    [
      "an edge to nothing",
      (dag) => (chainOf(dag, "a"), dag.edge("a", "b")),
      "a > b",
      'no node "b"',
    ],
    [
      "an edge twice",
      (dag) => (chainOf(dag, "a", "b"), dag.edge("a", "b")),
      "a > b",
      "the same edge twice",
    ],
    [
      "an edge with data and without",
      (dag) => dag.edge("a", "b", { execution: true, forwarder: (v) => v }),
      "a > b",
      "forwarder",
    ],
    [
      "a duplicate id",
      (dag) => (chainOf(dag, "a"), dag.subDag("a", dag.newDag())),
      "a",
      "two nodes of that id",
    ],
    [
      "a DAG inside of itself",
      (dag) => {
        const inner = dag.newDag();
        inner.node("a");
        inner.subDag("b", inner);
        dag.subDag("c", inner);
      },
      "c.b",
      "inside of itself",
    ],
    ["a branch without nodes", (dag) => dag.forEachBranch("e", (v) => v), "e", "no node"],
    ["no branches", (dag) => dag.conditionalBranch("c", [], () => []), "c", "[]"],
    ["an id of other letters", (dag) => dag.node("a.b"), "a node", '"a.b"'],
    ["a function of no name", (dag) => dag.node("a").apply("No Name"), "a/0", '"No Name"'],
    [
      "an unknown option",
      (dag) => dag.node("a").apply("f", { retires: 1 } as object),
      "retires",
      "",
    ],
    [
      "a retry without end",
      (dag) => dag.node("a").apply("f", { retry: { limit: Infinity } }),
      "retry, limit",
      "null",
    ],
    ["a sleep of no length", (dag) => dag.node("a").sleep("soon"), "a/0, sleep", '"soon"'],
    ["an address of another kind", (dag) => dag.node("a").request("file:///etc"), "a/0, url", ""],
    [
      "a loop without end",
      (dag) =>
        dag
          .node("a")
          .modify(Number)
          .repeat(() => true, { limit: 1e9 }),
      "limit",
      "",
    ],
    [
      "a loop over nothing",
      (dag) => dag.node("a").repeat(() => true, { limit: 1 }),
      "a/0",
      "nothing",
    ],
    ["a hook that is none", (dag) => dag.node("a").modify(7 as unknown as () => 1), "a/0", "7"],
    ["an aggregator of the start", (dag) => dag.node("a", { aggregator: (v) => v }), "a", "start"],
    [
      "two handlers",
      (dag) => (dag.onFailure(() => 1), dag.onFailure(() => 1)),
      "onFailure",
      "second",
    ],
  ])("%s", (_title, define, path, found) => {
    const { parts } = refusal(() => planOf(define));
    expect(parts.attempted).toContain(path);
    expect(parts.found).toContain(found);
    expect(parts.required ?? "").not.toBe("");
  });

  it("a definition that waits, or is none", () => {
    expect(refusal(() => planOf(async () => {})).parts.found).toContain("waits");
    expect(refusal(() => flow("x" as unknown as Define)).parts.found).toContain('"x"');
    const bad = { durability: "none" } as object;
    expect(refusal(() => flow(() => {}, bad)).parts.found).toContain("none");
  });

  it("more nodes, or bytes, than a plan may have; at the bound it is taken", () => {
    expect(planOf(chain(10_000)).dag.nodes.length).toBe(10_000);
    expect(refusal(() => planOf(chain(10_001))).parts.found).toBe("more nodes");
    const long = "x".repeat(8_000);
    const heavy: Define = (dag) => {
      const node = dag.node("a");
      for (let at = 0; at < 150; at += 1)
        node.request("http://a.example/", { headers: { x: long } });
    };
    expect(refusal(() => planOf(heavy)).parts.found).toContain("bytes");
  });

  it("DAGs that double: placed twice, they count twice", () => {
    expect(refusal(() => planOf(doubling)).parts.found).toBe("more nodes");
  });
});

describe("append", () => {
  it("takes nodes and edges over, once", () => {
    const plan = planOf((dag) => {
      const other = dag.newDag();
      other.node("b").apply("f");
      other.node("c");
      other.edge("b", "c");
      dag.node("a");
      dag.append(other);
      dag.edge("a", "b");
    });
    expect(plan.dag.nodes.map(({ id }) => id)).toStrictEqual(["a", "b", "c"]);
    expect(plan.dag.edges.length).toBe(2);
  });
});

describe("types", () => {
  it("follow the value through a chain, and the names of branches", () => {
    flow((dag, request) => {
      const node = dag.node<string>("a").modify((text) => text.length);
      node.modify((n) => {
        expectTypeOf(n).toEqualTypeOf<number>();
        return [n];
      });
      dag
        .node<number>("b")
        .modify(async (n) => Promise.resolve(String(n)))
        .apply<boolean>("f", {
          onFailure: (error, input) => {
            expectTypeOf(error.message).toEqualTypeOf<string>();
            expectTypeOf(input).toEqualTypeOf<string>();
            return true;
          },
        })
        .modify((is) => expectTypeOf(is).toEqualTypeOf<boolean>());
      const branches = dag.conditionalBranch("c", ["x", "y"], () => ["x"]);
      expectTypeOf(branches).toHaveProperty("y");
      // @ts-expect-error a condition names only branches that there are
      dag.conditionalBranch("d", ["x", "y"], () => ["z"]);
      // @ts-expect-error an option that nobody knows
      dag.node("e").apply("f", { retires: 1 });
      expectTypeOf(request.query).toEqualTypeOf<Readonly<Record<string, string>>>();
    });
    const typed = flow<{ id: string }>((_dag, { input }) => {
      expectTypeOf(input.id).toEqualTypeOf<string>();
    });
    expectTypeOf(typed).toEqualTypeOf<Flow>();
    expect(typed).toBeDefined();
  });
});

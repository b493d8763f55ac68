/**
 * The type surface of the builder. The assertions are the compiler's, at `npm run check:types`;
 * what is defined here is evaluated, too.
 */
import { describe, expect, expectTypeOf, it } from "vitest";
import type {
  ApplyOptions,
  Context,
  Dag,
  DagNode,
  FailureInfo,
  Flow,
  FlowRequest,
  ResponseInfo,
  RootDag,
} from "../../runtime/sdk/index.ts";
import { flow } from "../../runtime/sdk/index.ts";

const REQUEST: FlowRequest = { input: undefined, query: {}, headers: {} };

/** Evaluates what is defined: what the types allow, the builder takes. */
function define(work: (dag: Dag) => void): void {
  const whole = flow((dag) => {
    work(dag.newDag());
    dag.node("whole");
  });
  expect(whole.evaluate(REQUEST).plan.format).toBe(1);
}

interface Film {
  readonly title: string;
  readonly votes: number;
}
type Rate = (film: Film, ctx: Context) => Promise<number>;

describe("the types of a chain", () => {
  it("follow modify, also when it waits", () => {
    define((dag) => {
      const texts = dag.node<number>("a").modify((n) => {
        expectTypeOf(n).toEqualTypeOf<number>();
        return String(n);
      });
      expectTypeOf(texts).toEqualTypeOf<DagNode<string>>();
      expectTypeOf(texts.modify(async () => Promise.resolve([1]))).toEqualTypeOf<
        DagNode<number[]>
      >();
    });
  });

  it("follow the type of a function, its parameter and its result", () => {
    define((dag) => {
      const rated = dag.node<Film>("a").apply<Rate>("rate");
      expectTypeOf(rated).toEqualTypeOf<DagNode<number>>();
      // @ts-expect-error what is given is no film
      rated.apply<Rate>("rate");
      expectTypeOf(dag.node<string>("b").apply<() => string>("fizz")).toEqualTypeOf<
        DagNode<string>
      >();
    });
  });

  it("follow a result that is named without its function, or not at all", () => {
    define((dag) => {
      const node = dag.node("a").apply<Film>("find");
      expectTypeOf(node).toEqualTypeOf<DagNode<Film>>();
      expectTypeOf(node.apply("anything")).toEqualTypeOf<DagNode>();
      dag
        .node("b")
        .apply("f")
        .modify((value) => {
          expectTypeOf(value).toBeAny();
        });
    });
  });

  it("follow requests, events, workflows, sleeps and loops", () => {
    define((dag) => {
      const answer = dag.node<Film>("a").request<number>("https://example.com/", {
        onResponse: (response) => {
          expectTypeOf(response).toEqualTypeOf<ResponseInfo>();
          return response.status;
        },
      });
      expectTypeOf(answer).toEqualTypeOf<DagNode<number>>();
      const waits = dag.node<Film>("b").waitForEvent<{ approved: boolean }>("decision");
      expectTypeOf(waits).toEqualTypeOf<DagNode<{ approved: boolean }>>();
      expectTypeOf(waits.invoke<Film>("other")).toEqualTypeOf<DagNode<Film>>();
      const loop = dag
        .node<Film>("c")
        .sleep((film) => {
          expectTypeOf(film).toEqualTypeOf<Film>();
          return new Date(film.votes);
        })
        .repeat((film, round) => film.votes > round, { limit: 3 });
      expectTypeOf(loop).toEqualTypeOf<DagNode<Film>>();
    });
  });
});

describe("the types of options", () => {
  it("give handlers the error and the input, and ask the result of them", () => {
    define((dag) => {
      dag.node<Film>("a").apply<Rate>("rate", {
        onFailure: (error, input) => {
          expectTypeOf(error).toEqualTypeOf<FailureInfo>();
          expectTypeOf(input).toEqualTypeOf<Film>();
          return 0;
        },
      });
      dag.node<Film>("b").apply<Rate>("rate", {
        // @ts-expect-error a handler recovers with what the function would have answered
        onFailure: () => "no number",
      });
      dag.node<Film>("c").waitForEvent<Film>("found", { onFailure: (_error, film) => film });
    });
  });

  it("know their own words only", () => {
    expectTypeOf<ApplyOptions<Film, number>["version"]>().toEqualTypeOf<
      number | "latest" | undefined
    >();
    define((dag) => {
      // @ts-expect-error an option that nobody knows
      expect(() => dag.node("a").apply("f", { retires: 1 })).toThrow(/retires/);
      const retry = { limit: 1, backoff: "cubic" } as const;
      // @ts-expect-error back-off has three forms
      expect(() => dag.node("b").apply("f", { retry })).toThrow(/backoff/);
      // @ts-expect-error a loop has a limit
      expect(() => dag.node("c").repeat(() => true)).toThrow(/an object/);
    });
    // @ts-expect-error and durability two words
    expect(() => flow(() => {}, { durability: "none" })).toThrow(/durability/);
  });
});

describe("the types of branches", () => {
  it("are those of the names, for the condition, the DAGs and the aggregator", () => {
    define((dag) => {
      const { small, large } = dag.conditionalBranch(
        "size",
        ["small", "large"],
        (film: Film) => [film.votes > 10 ? "large" : "small"],
        {
          aggregator: (results: Partial<Record<"small" | "large", number>>) => {
            expectTypeOf(results.small).toEqualTypeOf<number | undefined>();
            return results.small ?? results.large;
          },
        },
      );
      expectTypeOf(small).toEqualTypeOf<Dag>();
      small.node("a");
      large.node("a");
    });
    define((dag) => {
      // @ts-expect-error a condition names only branches that there are
      dag.conditionalBranch("a", ["x", "y"], () => ["z"]);
      // @ts-expect-error and there is none of another name
      expect(dag.conditionalBranch("b", ["x", "y"], () => ["x"]).z).toBeUndefined();
    });
  });

  it("are those of the items of a for-each", () => {
    define((dag) => {
      const each = dag.forEachBranch("each", (films: readonly Film[]) => films, {
        concurrency: 2,
        aggregator: (votes: Readonly<Record<string, number>>) => Math.max(...Object.values(votes)),
      });
      expectTypeOf(each).toEqualTypeOf<Dag>();
      expectTypeOf(each.node<Film>("rate").apply<Rate>("rate")).toEqualTypeOf<DagNode<number>>();
    });
    define((dag) => {
      // @ts-expect-error a number has no items
      dag.forEachBranch("a", (count: number) => count);
    });
  });
});

describe("the types of joins and edges", () => {
  it("begin a node with what its aggregator answers", () => {
    define((dag) => {
      dag.node("a");
      const joined = dag.node("b", { aggregator: ({ a }): Film => a });
      expectTypeOf(joined).toEqualTypeOf<DagNode<Film>>();
      dag.edge("a", "b", { forwarder: (film: Film) => film.votes });
    });
  });
});

describe("the types of a workflow", () => {
  it("are those of its request and of how it ends", () => {
    const typed = flow<Film>((dag, request) => {
      expectTypeOf(dag).toEqualTypeOf<RootDag>();
      expectTypeOf(request.input).toEqualTypeOf<Film>();
      expectTypeOf(request.query).toEqualTypeOf<Readonly<Record<string, string>>>();
      dag.node<Film>("a");
      dag.onFailure((error) => {
        expectTypeOf(error).toEqualTypeOf<FailureInfo>();
      });
      dag.finally((state) => {
        expectTypeOf(state).toEqualTypeOf<"completed" | "failed" | "terminated">();
      });
    });
    expectTypeOf(typed).toEqualTypeOf<Flow>();
    expect(typed.evaluate(REQUEST).plan.finally).toBe(true);
  });

  it("place DAGs made by newDag, and nothing else", () => {
    define((dag) => {
      const inner = dag.newDag();
      expectTypeOf(inner).toEqualTypeOf<Dag>();
      inner.node("a");
      dag.subDag("b", inner);
      const other = dag.newDag();
      other.node("c");
      dag.append(other);
      dag.edge("b", "c");
    });
    // @ts-expect-error a name is no DAG
    expect(() => flow((dag) => dag.subDag("a", "b")).evaluate(REQUEST)).toThrow(/newDag/);
  });
});

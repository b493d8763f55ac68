/** The trace of a run, made of its id. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  formatTraceparent,
  parseTraceparent,
  spanOfRun,
  traceOfRun,
} from "../../runtime/contract/index.ts";

describe("the trace of a run", () => {
  it("is that of who began it, else one of its own, and the same whenever it is asked for", () => {
    const caller = `00-${"a".repeat(32)}-${"b".repeat(16)}-00`;
    const id = `0-${"c".repeat(32)}`;
    const trace = traceOfRun(id, caller);
    expect(trace).toStrictEqual({
      traceId: "a".repeat(32),
      spanId: spanOfRun(id),
      sampled: false,
    });
    expect(traceOfRun(id, undefined)).toStrictEqual(traceOfRun(id, "nonsense"));
  });

  it("is a valid one for any id, and a span of its own for each", () => {
    const ids = fc.tuple(fc.string(), fc.string());
    fc.assert(
      fc.property(ids, ([one, other]) => {
        const trace = traceOfRun(one, undefined);
        expect(parseTraceparent(formatTraceparent(trace))).toStrictEqual(trace);
        expect(spanOfRun(one) === spanOfRun(other)).toBe(one === other);
      }),
    );
  });
});

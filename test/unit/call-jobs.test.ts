/** Store jobs of calls in cells that hold no shard: whose process is gone, and whose is not. */
import { describe, expect, it } from "vitest";
import { CallJobs } from "../../runtime/gateway/internal.ts";

const job = (name: string) => ({ shard: 0, namespace: "own", job: name });
const names = (jobs: readonly { job: string }[]): string[] => jobs.map((one) => one.job);

describe("jobs of calls in other cells", () => {
  it("are lost with their process, once (O2)", () => {
    const jobs = new CallJobs();
    jobs.made(2, 100, job("a"));
    jobs.made(2, 100, job("b"));
    jobs.made(3, 300, job("c"));
    expect(jobs.takeLost((slot) => slot * 50)).toEqual([job("c")]);
    expect(jobs.takeLost(() => 100)).toEqual([]);
    expect(names(jobs.takeLost(() => 101))).toEqual(["a", "b"]);
    expect(jobs.takeLost(() => 102)).toEqual([]);
  });

  it("are lost when their slot has no process", () => {
    const jobs = new CallJobs();
    jobs.made(2, 100, job("a"));
    expect(names(jobs.takeLost(() => undefined))).toEqual(["a"]);
  });

  it("are nobody's business once they have ended (O1)", () => {
    const jobs = new CallJobs();
    jobs.made(2, 100, job("a"));
    jobs.made(2, 100, job("b"));
    jobs.ended(2, "a");
    jobs.ended(7, "b");
    expect(names(jobs.takeLost(() => 101))).toEqual(["b"]);
  });

  it("of a process that nobody has named yet are kept until it is", () => {
    const jobs = new CallJobs();
    jobs.made(2, undefined, job("early"));
    expect(jobs.takeLost(() => undefined)).toEqual([]);
    expect(jobs.takeLost(() => 100)).toEqual([]);
    expect(names(jobs.takeLost(() => 101))).toEqual(["early"]);
  });

  it("of two lives of a slot are told apart", () => {
    const jobs = new CallJobs();
    jobs.made(2, 100, job("first"));
    jobs.made(2, 200, job("second"));
    expect(names(jobs.takeLost(() => 200))).toEqual(["first"]);
    jobs.ended(2, "second");
    expect(jobs.takeLost(() => 300)).toEqual([]);
  });
});

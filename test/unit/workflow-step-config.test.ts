/** Cloudflare's durations, step configurations and names, with the defaults of its documents. */
import { describe, expect, it } from "vitest";
import { parseDoConfig, parseStepDuration, stepKey } from "../../workflow/index.ts";

describe("durations", () => {
  it.each([
    [0, 0],
    [1_500, 1_500],
    ["1 second", 1_000],
    ["30 seconds", 30_000],
    ["10 minutes", 600_000],
    ["2 hours", 7_200_000],
    ["1 day", 86_400_000],
    ["1 week", 604_800_000],
    ["1 month", 2_592_000_000],
    ["1 year", 31_536_000_000],
    ["5 milliseconds", 5],
  ])("%j are %i ms", (given, ms) => {
    expect(parseStepDuration(given)).toStrictEqual({ ok: true, value: ms });
  });

  it.each(["", "soon", "5", "5 fortnights", "-1 second", -1, Number.NaN, "2 years", null, {}])(
    "%j is none",
    (given) => {
      expect(parseStepDuration(given).ok).toBe(false);
    },
  );
});

describe("the configuration of step.do", () => {
  it("has the documented defaults", () => {
    const plan = {
      op: "do",
      retry: { limit: 5, delayMs: 10_000, backoff: "exponential" },
      timeoutMs: 600_000,
    };
    const value = { plan, hasDelayFunction: false };
    expect(parseDoConfig()).toStrictEqual({ ok: true, value });
    expect(parseDoConfig({})).toStrictEqual({ ok: true, value });
  });

  it("keeps exponential back-off where retries do not say", () => {
    const parsed = parseDoConfig({ retries: { limit: 2, delay: "1 second" }, timeout: 5_000 });
    expect(parsed.ok && parsed.value.plan).toStrictEqual({
      op: "do",
      retry: { limit: 2, delayMs: 1_000, backoff: "exponential" },
      timeoutMs: 5_000,
    });
  });

  it("takes a function for the delay, and a policy for the rollback", () => {
    const parsed = parseDoConfig(
      { retries: { limit: 1, delay: () => 5 }, sensitive: "output" },
      { retries: { limit: 0, delay: 0, backoff: "constant" }, timeout: "1 minute" },
    );
    expect(parsed.ok && parsed.value.hasDelayFunction).toBe(true);
    expect(parsed.ok && parsed.value.plan.rollback).toStrictEqual({
      retry: { limit: 0, delayMs: 0, backoff: "constant" },
      timeoutMs: 60_000,
    });
  });

  it.each<[string, unknown, unknown]>([
    ["an unknown option", { retry: {} }, undefined],
    ["an unknown option of retries", { retries: { times: 1 } }, undefined],
    ["no time to run in", { timeout: 0 }, undefined],
    ["no length of time", { timeout: "soon" }, undefined],
    ["more retries than there may be", { retries: { limit: 10_001 } }, undefined],
    ["half a retry", { retries: { limit: 0.5 } }, undefined],
    ["another back-off", { retries: { backoff: "random" } }, undefined],
    ["no object", "fast", undefined],
    ["something else that is sensitive", { sensitive: "input" }, undefined],
    ["a rollback that cannot be", {}, { timeout: 0 }],
    ["a rollback whose delay is a function", {}, { retries: { delay: () => 1 } }],
  ])("refuses %s, with the reason", (_title, config, rollback) => {
    const parsed = parseDoConfig(config, rollback);
    expect(parsed.ok).toBe(false);
    expect("message" in parsed && parsed.message.length > 10).toBe(true);
  });
});

describe("names of steps", () => {
  it("become ids with kind and count", () => {
    expect(stepKey("do", "charge card", 2)).toStrictEqual({ ok: true, value: "do:charge card-2" });
    expect(stepKey("sleep", "x".repeat(256), 1).ok).toBe(true);
  });

  it.each(["", "x".repeat(257), "a\nb", "a\u0000", 7, undefined])("%j is none", (name) => {
    expect(stepKey("do", name, 1).ok).toBe(false);
  });
});

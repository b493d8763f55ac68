/**
 * FizzBuzz merged into one function: no call between functions, and nothing that could be used or
 * deployed by itself.
 *
 * Input: a number, or `{n}` as a query sends it.
 */
import classify from "./classify.ts";

const ANSWERS = { "fizz-and-buzz": "FizzBuzz", fizz: "Fizz", buzz: "Buzz" } as const;

export default function fizzbuzzMerged(input: number | string | { n: number | string }): string {
  const n = Number(typeof input === "object" ? input.n : input);
  const branch = classify(n);
  return branch === "number" ? String(n) : ANSWERS[branch];
}

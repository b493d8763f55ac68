/**
 * FizzBuzz composed of functions: `classify` names the branch, the branch answers.
 *
 * Input: a number, or `{n}` as a query sends it.
 */
import type { Context } from "isola";
import type { Branch } from "./classify.ts";

export default async function fizzbuzz(
  input: number | string | { n: number | string },
  ctx: Context,
): Promise<string> {
  const n = Number(typeof input === "object" ? input.n : input);
  const branch = await ctx.call<Branch>("classify", n);
  return ctx.call<string>(branch, n);
}

/**
 * FizzBuzz by a coordinator: a function that calls `classify`, then the branch that it names, and
 * that occupies its isolate meanwhile. What it was doing is lost with its cell.
 *
 * Input: a number, or `{n}` as a query sends it.
 */
import type { Context } from "isola";
import type { Branch } from "./classify.ts";

export default async function fizzbuzzCoordinator(
  input: number | string | { n: number | string },
  ctx: Context,
): Promise<string> {
  const n = Number(typeof input === "object" ? input.n : input);
  const branch = await ctx.call<Branch>("classify", n);
  return ctx.call<string>(branch, n);
}

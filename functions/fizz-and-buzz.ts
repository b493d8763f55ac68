/** A branch of fizzbuzz, itself composed of two others, called side by side. */
import type { Context, FunctionConfig } from "isola";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

export default async function fizzAndBuzz(n: number, ctx: Context): Promise<string> {
  const parts = await Promise.all([ctx.call("fizz", n), ctx.call("buzz", n)]);
  return parts.join("");
}

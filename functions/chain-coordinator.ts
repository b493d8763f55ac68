/**
 * The chain as a function that calls one link after the other: the links know nothing of each
 * other, but the coordinator occupies its isolate all the time, and dies with it.
 */
import type { Context } from "isola";
import { type Chain, linksOf } from "./chain/request.ts";

const MAX_LINKS = 1_000;

export default async function chainCoordinator(chain: Chain, ctx: Context): Promise<unknown> {
  const { value: first = null } = chain;
  let value = first;
  for (let left = linksOf(chain, MAX_LINKS); left > 0; left -= 1) {
    value = await ctx.call("echo-value", value);
  }
  return value;
}

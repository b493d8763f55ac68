/**
 * The chain in which each function calls the next: all wait for the last, each knows the next, and
 * there may be as many as the platform lets one function stand in a chain of calls.
 */
import type { Context } from "isola";
import { type Chain, linksOf } from "./chain/request.ts";

const MAX_LINKS = 8;

export default async function chainDirect(chain: Chain, ctx: Context): Promise<unknown> {
  const { value = null } = chain;
  const left = linksOf(chain, MAX_LINKS) - 1;
  return left === 0 ? value : ctx.call("chain-direct", { links: left, value });
}

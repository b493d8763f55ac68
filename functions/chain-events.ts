/**
 * The chain driven by events: each link starts the next asynchronously and is done. Nobody waits,
 * so nobody knows the result: the last link leaves it in a job of the store, which this function,
 * where the chain begins, looks at until it is there.
 */
import type { Context } from "isola";
import { type Chain, linksOf } from "./chain/request.ts";
import type { LinkEvent } from "./chain-events-link.ts";

const MAX_LINKS = 1_000;
const LOOK_EVERY_MS = 2;

export default async function chainEvents(chain: Chain, ctx: Context): Promise<unknown> {
  const { value = null } = chain;
  const links = linksOf(chain, MAX_LINKS);
  const job = await ctx.store.createJob({ name: "chain-events" });
  try {
    const event: LinkEvent = { left: links, value, job: (await job.info()).id };
    await ctx.callAsync("chain-events-link", event);
    for (;;) {
      const found = await job.get<{ readonly value: unknown }>("result");
      if (found) return found.value;
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  } finally {
    await job.end();
  }
}

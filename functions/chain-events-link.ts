/** A link of `chain-events`: does its work and starts the next, or leaves the result. */
import type { Context, FunctionConfig } from "isola";
import echoValue from "./echo-value.ts";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

export interface LinkEvent {
  readonly left: number;
  readonly value: unknown;
  /** Job of the store that waits for the result. */
  readonly job: string;
}

export default async function link(event: LinkEvent, ctx: Context): Promise<void> {
  const value = echoValue(event.value);
  if (event.left > 1) {
    await ctx.callAsync("chain-events-link", { ...event, left: event.left - 1, value });
  } else {
    await ctx.store.job(event.job).put("result", { value });
  }
}

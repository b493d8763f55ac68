/** Answers what it was called with: a link of the chains. */
import type { FunctionConfig } from "isola";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

export default function echoValue(value: unknown): unknown {
  return value;
}

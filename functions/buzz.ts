/** A branch of fizzbuzz; only other functions may call it. */
import type { FunctionConfig } from "isola";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

export default function buzz(): string {
  return "Buzz";
}

/** A branch of fizzbuzz: the number itself; only other functions may call it. */
import type { FunctionConfig } from "isola";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

export default function number(n: number): string {
  return String(n);
}

/** A data function: plain values in and out. Says which branch of FizzBuzz a number takes. */
import type { FunctionConfig } from "isola";

export const config = {
  timeoutMs: 5_000,
  memoryMb: 64,
  idempotent: true,
} satisfies FunctionConfig;

export type Branch = "fizz-and-buzz" | "fizz" | "buzz" | "number";

export default function classify(input: unknown): Branch {
  const n = Number(input);
  if (!Number.isSafeInteger(n)) throw new TypeError(`an integer is needed, not ${String(input)}`);
  if (n % 15 === 0) return "fizz-and-buzz";
  if (n % 3 === 0) return "fizz";
  return n % 5 === 0 ? "buzz" : "number";
}

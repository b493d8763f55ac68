/** Broken invariants of ours, where the operator reads them: the process's log. */
import type { IsolaError } from "../contract/index.ts";

export function reportBug(error: IsolaError): void {
  const cause = error.cause instanceof Error ? error.cause.stack : "";
  // oxlint-disable-next-line no-console -- stdout is the gateway's log; the host keeps it.
  console.error(`${error.message}${cause === "" ? "" : `\n${cause ?? ""}`}`);
}

/** What comes of an attempt that was to be made in another cell, and found none. */
import type { Outcome } from "../../../workflow/index.ts";

/** Known by its identity: it never reaches a run. */
export const STAYS: Outcome = {
  ok: false,
  error: { name: "Stays", message: "no other cell has room" },
};

/** Other cells of the group, as the gateway said last; of the process, like its routing table. */
export const cellsBeside: { count: number | undefined } = { count: undefined };

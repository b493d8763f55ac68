/**
 * Who carries out the effects of runs. An effect leaves after the commit that it depends on, and
 * may be told twice after a crash; what came of it is reported, never returned.
 */
import type {
  OutwardEffect,
  RunHome,
  RunRef,
  RunReport,
  RunRequest,
} from "../../../workflow/index.ts";

export type EffectOf<Do extends OutwardEffect["do"]> = Extract<OutwardEffect, { readonly do: Do }>;

/** `isAway`: in another cell, whichever has room (spread.ts). */
export type Dispatch = EffectOf<"dispatch"> & { readonly isAway?: true };

/** Never throws: what goes wrong is a report. */
export type Performer<Do extends OutwardEffect["do"]> = (
  run: RunHome,
  request: RunRequest,
  effect: EffectOf<Do>,
) => void;

/** A performer for each effect. */
export type Performers = { readonly [Do in OutwardEffect["do"]]: Performer<Do> };

/**
 * Makes one attempt of a step and answers what came of it: `settled` or `interrupted`. Never
 * rejects. @param signal the attempt is to end; its answer is waited for all the same.
 */
export type Attempter = (
  run: RunHome,
  request: RunRequest,
  effect: Dispatch,
  signal: AbortSignal,
) => Promise<RunReport>;

/** Operations that are attempted; the others wait, or are runs of their own. */
export type AttemptedOperation = "apply" | "request" | "do" | "rollback";

export type Attempters = { readonly [Op in AttemptedOperation]: Attempter };

/** What those who perform have of the shard. */
export interface RunsDesk {
  /** Tells the run; a failure that is no fault of the report ends the actor. */
  report(run: RunRef, report: RunReport): void;
}

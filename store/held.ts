/**
 * Values that a run itself holds by reference: results, inputs, what went between its steps. They
 * stand in a bucket of its job whose name no client can say, and are counted like everything else.
 *
 * D1 A value is staged with its attempt like any put, or is there at once where there is none.
 * D2 What the run keeps beyond its job is persisted in the commit that ends the job (G9).
 */
import { IsolaError } from "../runtime/contract/index.ts";
import type { DecisionParts } from "./decisions.ts";
import { HELD_BUCKET, type Job } from "./model.ts";
import { valueLost } from "./refusals.ts";
import { Session } from "./session.ts";

/** A session of that bucket alone; with `step` staged with an attempt of it. */
export function heldSession(parts: DecisionParts, job: Job, step?: string): Session {
  return new Session(parts, job, { checkBucket: checkHeld, ...(step !== undefined && { step }) });
}

/** From now on it outlives the job. False if it is gone. */
export function keepHeld({ table }: DecisionParts, job: Job, key: string): boolean {
  const entry = table.peek(job, HELD_BUCKET, key);
  if (!entry) return false;
  if (!entry.persist) table.put(job, HELD_BUCKET, key, { ...entry, persist: true, durable: true });
  return true;
}

/** Why a reference leads to nothing: with its job it was freed, or memory lost it. */
export function heldGone(job: Job, key: string): IsolaError {
  if (job.endedAtMs === undefined) return valueLost(job, HELD_BUCKET, key);
  return new IsolaError("VALUE_LOST", {
    attempted: `read a value of the run ${job.id}`,
    found: "what went between its steps was freed when it ended",
    fix: "Start it anew; of a run that ended, its own input and output are kept.",
  });
}

function checkHeld(bucket: string): string {
  if (bucket === HELD_BUCKET) return bucket;
  throw new IsolaError("KEY_INVALID", {
    attempted: "hold a value of a run",
    found: JSON.stringify(bucket),
    required: HELD_BUCKET,
  });
}

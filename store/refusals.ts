/** The store's refusals, each with what was attempted, found and required. */
import { IsolaError, STORE_LIMITS } from "../runtime/contract/index.ts";
import type { Job } from "./model.ts";

const encoder = new TextEncoder();

/** Control characters and halves of surrogate pairs: neither can stand in a URL or a log line. */
// oxlint-disable-next-line eslint/no-control-regex -- control characters are what it looks for
const UNFIT = /[\u0000-\u001f\u007f]|\p{Surrogate}/u;
const BUCKET = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** Refuses a key or lock name. Errors: `KEY_INVALID`. */
export function checkKey(key: string, what = "key"): string {
  const found = keyFault(key, STORE_LIMITS.keyMaxBytes);
  if (found === undefined) return key;
  throw new IsolaError("KEY_INVALID", {
    attempted: `use a ${what}`,
    found,
    required: `1 to ${String(STORE_LIMITS.keyMaxBytes)} bytes of UTF-8, no control characters`,
  });
}

function keyFault(key: unknown, maxBytes: number): string | undefined {
  if (typeof key !== "string") return `a ${typeof key}`;
  if (key === "") return "an empty one";
  if (UNFIT.test(key)) return "a control character or half a character";
  if (key.length * 3 <= maxBytes) return undefined;
  const { byteLength } = encoder.encode(key);
  return byteLength > maxBytes ? `${String(byteLength)} bytes` : undefined;
}

/** Refuses a bucket's name. Errors: `KEY_INVALID`. */
export function checkBucket(bucket: string): string {
  const maxBytes = STORE_LIMITS.bucketMaxBytes;
  const fault = keyFault(bucket, maxBytes);
  if (fault === undefined && BUCKET.test(bucket)) return bucket;
  throw new IsolaError("KEY_INVALID", {
    attempted: "use a bucket",
    found: fault ?? JSON.stringify(bucket),
    required: `letters, digits, dot, "_", "-"; at most ${String(maxBytes)} bytes`,
  });
}

/** Refuses a duration that is none. Errors: `VALUE_INVALID`. */
export function checkDuration(
  what: string,
  durationMs: number | undefined,
  maxMs: number,
): number | undefined {
  if (durationMs === undefined) return undefined;
  if (Number.isSafeInteger(durationMs) && durationMs >= 1 && durationMs <= maxMs) return durationMs;
  throw invalid(`use ${what}`, String(durationMs), `whole milliseconds from 1 to ${String(maxMs)}`);
}

export function invalid(attempted: string, found: string, required: string): IsolaError {
  return new IsolaError("VALUE_INVALID", { attempted, found, required });
}

export function jobNotFound(id: string): IsolaError {
  return new IsolaError("JOB_NOT_FOUND", {
    attempted: "open a store job",
    found: `none ${JSON.stringify(id)} in this namespace`,
  });
}

export function jobEnded(job: Pick<Job, "endedAtMs" | "id">): IsolaError {
  return new IsolaError("JOB_ENDED", {
    attempted: `use store job ${job.id}`,
    found: `its end at ${String(job.endedAtMs)}`,
  });
}

export function valueLost(job: Job, bucket: string, key: string): IsolaError {
  return new IsolaError("VALUE_LOST", {
    attempted: `read ${bucket}/${key} of store job ${job.id}`,
    found: lossReason(job) ?? "its bytes gone",
  });
}

/** Why something may be missing in a job; undefined if nothing can be. */
export function lossReason(job: Job): string | undefined {
  if (job.lostEpoch === undefined) return undefined;
  return `the cell that held the job's memory (epoch ${String(job.lostEpoch)}) ended`;
}

export function storeFull(found: string, code: "DISK_FULL" | "STORE_FULL"): IsolaError {
  return new IsolaError(code, {
    attempted: "store a value",
    found,
    retryAfterSeconds: STORE_LIMITS.retryAfterSeconds,
  });
}

export function quotaExceeded(attempted: string, found: string): IsolaError {
  return new IsolaError("QUOTA_EXCEEDED", { attempted, found });
}

export function lockStale(attempted: string, found: string): IsolaError {
  return new IsolaError("LOCK_STALE", { attempted, found });
}

export function leased(bucket: string, key: string): IsolaError {
  return new IsolaError("CONFLICT", {
    attempted: `decide on ${bucket}/${key}`,
    found: "a reader that has taken it and not yet committed",
    fix: "Repeat once the lease ended.",
  });
}

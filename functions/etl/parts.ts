/**
 * What the steps of the film pipeline hand to one another: a batch's key as a value, and the data
 * in the run's job, on disk, where the next attempt finds it after a crash.
 */
import type { Context } from "isola";

/** A batch, to the steps that work on it. */
export interface Part {
  readonly key: string;
  readonly sink: string;
}

type Bucket = "raw" | "facts" | "valid" | "rejected" | "films" | "corrections" | "sums";

export const keyOf = (batch: number): string => String(batch).padStart(6, "0");

export async function keep(
  ctx: Context,
  bucket: Bucket,
  key: string,
  value: unknown,
): Promise<void> {
  await ctx.store.bucket(bucket).put(key, value, { durability: "disk" });
}

/** @throws Error if there is nothing of that key. */
export async function kept<Stored>(ctx: Context, bucket: Bucket, key: string): Promise<Stored> {
  const value = await ctx.store.bucket(bucket).get<Stored>(key);
  if (value === undefined) throw new Error(`no ${bucket} of batch ${key} in the run's job`);
  return value;
}

/** Sends to the sink, which takes the same key twice as once. */
export async function send<Answer>(url: string, body: unknown): Promise<Answer> {
  const response = await fetch(url, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${url} answered ${String(response.status)}`);
  return response.json();
}

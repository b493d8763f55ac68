/**
 * Reads one batch from the source, a stream over HTTP, and puts it into the run's job. Its result
 * is the checkpoint: where the next round goes on, also after a crash.
 */
import type { Context, FunctionConfig } from "isola";
import { keep, keyOf } from "./etl/parts.ts";
import type { Checkpoint } from "./etl/records.ts";
import { cutRecords } from "./etl/source.ts";

export const config = {
  auth: "internal",
  retry: { limit: 5, delayMs: 100 },
} satisfies FunctionConfig;

export default async function extract(before: Checkpoint, ctx: Context): Promise<Checkpoint> {
  const { nextByte: fromByte, batches, batchRecords, source } = before;
  const headers: Record<string, string> = { range: `bytes=${String(fromByte)}-` };
  const response = await fetch(source, { headers });
  const etag = response.headers.get("etag");
  if (!response.ok) throw new Error(`${source} answered ${String(response.status)}`);
  if (!response.body) throw new Error(`${source} answered nothing`);
  // Batches of two states of a source, or of a source that always begins anew, would be wrong.
  if (fromByte > 0 && (response.status !== 206 || etag !== before.etag)) {
    throw new Error(`${source} is not what it was when the run began`);
  }
  const { records, nextByte, isEnd } = await cutRecords(response.body, fromByte, batchRecords);
  if (records.length > 0) {
    await keep(ctx, "raw", keyOf(batches), { offset: before.records, records });
  }
  ctx.log.info(`batch ${String(batches)}: ${String(records.length)} records`);
  return {
    ...before,
    etag,
    nextByte,
    isEnd,
    records: before.records + records.length,
    batches: batches + (records.length > 0 ? 1 : 0),
  };
}

/** Adds the batches up: rows of sums for the sink, and the account of the run. */
import type { Context, FunctionConfig } from "isola";
import { addUp, groupRows } from "./etl/aggregate.ts";
import { kept, keyOf, send } from "./etl/parts.ts";
import {
  type Aggregates,
  CORRECTIONS,
  type Checkpoint,
  type Correction,
  type EtlResult,
  REASONS,
  type Rejection,
  type Tally,
} from "./etl/records.ts";

export const config = {
  auth: "internal",
  timeoutMs: 5_000,
  retry: { limit: 8, delayMs: 100, backoff: "exponential" },
} satisfies FunctionConfig;

export default async function report(extracted: Checkpoint, ctx: Context): Promise<EtlResult> {
  const { sink, batches, records: recordsIn } = extracted;
  const rejected: Rejection[] = [];
  const corrections: Correction[] = [];
  const sums: Aggregates[] = [];
  for (let batch = 0; batch < batches; batch += 1) {
    const key = keyOf(batch);
    rejected.push(...(await kept<readonly Rejection[]>(ctx, "rejected", key)));
    corrections.push(...(await kept<readonly Correction[]>(ctx, "corrections", key)));
    sums.push(await kept<Aggregates>(ctx, "sums", key));
  }
  const groups = groupRows(addUp(sums));
  await send(`${sink}/groups`, groups);
  return {
    recordsIn,
    batches,
    rejectedRecords: rejected.length,
    rejectedBy: REASONS.map((name) => {
      const all = rejected.filter(({ reasons }) => reasons.includes(name));
      return { name, count: all.length, example: `#${all[0]?.position} ${all[0]?.title}` };
    }).filter(isPresent),
    correctedBy: CORRECTIONS.map((name) => {
      const all = corrections.filter(({ kind }) => kind === name);
      return { name, count: all.length, example: `${all[0]?.before} → ${all[0]?.after}` };
    }).filter(isPresent),
    films: recordsIn - rejected.length,
    groups: groups.length,
  };
}

const isPresent = ({ count }: Tally): boolean => count > 0;

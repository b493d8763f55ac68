/**
 * The film pipeline, a workflow: extract batch by batch from a stream, survey all of them, then
 * validate, clean, aggregate and load each, some side by side, then report.
 *
 * Records go through the run's job, not through values. What a step made is on disk before the
 * next one begins: after a crash the run goes on from the last checkpoint and the batches that were
 * under way. Input: an `EtlRequest`; result: an `EtlResult`.
 */
import { flow, type FunctionConfig } from "isola";
import { type Part, keyOf } from "./parts.ts";
import type { Checkpoint, EtlRequest } from "./records.ts";

export const config = { timeoutMs: 300_000 } satisfies FunctionConfig;

const BATCH_RECORDS = 500;
const SIDE_BY_SIDE = 4;

export default flow((dag) => {
  dag.node<EtlRequest>("begin").modify(checkpointOf);
  dag
    .node<Checkpoint>("extract")
    .apply<Checkpoint>("etl-extract")
    .repeat(({ isEnd }) => !isEnd, { limit: 10_000 });
  dag.node("survey").apply("etl-survey");
  const batch = dag.forEachBranch("batches", partsOf, {
    concurrency: SIDE_BY_SIDE,
    aggregator: (loaded) => Object.keys(loaded).length,
  });
  batch
    .node<Part>("batch")
    .apply<Part>("etl-validate")
    .apply<Part>("etl-clean")
    .apply<Part>("etl-aggregate")
    .apply<number>("etl-load");
  dag.node("report").apply("etl-report");
  dag.edge("begin", "extract");
  dag.edge("extract", "survey");
  dag.edge("survey", "batches");
  dag.edge("survey", "report");
  dag.edge("batches", "report", { execution: true });
});

function checkpointOf({ source, sink, batchRecords = BATCH_RECORDS }: EtlRequest): Checkpoint {
  const start = { etag: null, nextByte: 0, records: 0, batches: 0, isEnd: false };
  return { source, sink, batchRecords, ...start };
}

function partsOf({ batches, sink }: Checkpoint): readonly Part[] {
  return Array.from({ length: batches }, (_, batch) => ({ key: keyOf(batch), sink }));
}

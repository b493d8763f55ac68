/**
 * A chain of as many echo functions as the request says: a graph that is built for each run. The
 * same without a workflow: `chain-merged`, `chain-direct`, `chain-coordinator`, `chain-events`.
 *
 * Input: a `Chain`; result: its value.
 */
import { flow } from "isola";
import { type Chain, linksOf } from "./request.ts";

const MAX_LINKS = 1_000;

export default flow<Chain>((dag, { input }) => {
  const links = linksOf(input, MAX_LINKS);
  dag
    .node("link-1")
    .modify(() => input.value ?? null)
    .apply("echo-value");
  for (let link = 2; link <= links; link += 1) {
    dag.node(`link-${String(link)}`).apply("echo-value");
    dag.edge(`link-${String(link - 1)}`, `link-${String(link)}`);
  }
});

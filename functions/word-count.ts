/**
 * Counts words by map and reduce, a workflow: the text is cut into parts, each part is counted by
 * itself, and the tables are added up. The data is in the run's job; its keys are the values.
 *
 * Input: a text. Result: the most frequent words. The same by hand: `word-count-coordinator`.
 */
import { flow } from "isola";

export default flow<string>((dag) => {
  dag.node("split").apply<readonly string[]>("word-count-split");
  const map = dag.forEachBranch("map", (keys: readonly string[]) => keys, {
    aggregator: (counted) => Object.values(counted),
  });
  map.node("count").apply<string>("word-count-part");
  dag.node("reduce").apply("word-count-reduce");
  dag.edge("split", "map");
  dag.edge("map", "reduce");
});

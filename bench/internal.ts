/** What tests of the benchmarks reach. */
export { Journal } from "./journal.ts";
export { merged, percentileMs } from "./load/histogram.ts";
export { LoadGenerator } from "./load/index.ts";
export { medianInterval, ratios, quantile, slopeOf, spreadOf } from "./statistics.ts";
export { FEW, MANY, faultsOf, figuresOf, isMet } from "./suites/figures.ts";
export { runCalls } from "./suites/calls.ts";
export { FULL } from "./suites/options.ts";
export { STORE_QUICK_RUN } from "./suites/store-cases.ts";
export { storeFaultsOf, storeFiguresOf } from "./suites/store-figures.ts";
export { FLOWS_QUICK_RUN } from "./suites/flow-options.ts";
export { flowFaultsOf, flowFiguresOf } from "./suites/flow-figures.ts";
export { answerOf } from "./suites/flow-shapes.ts";
export { FIZZBUZZ_ASKS, runFlows } from "./suites/flows.ts";
export { restateVersion } from "./flow-peers.ts";
export { runStore } from "./suites/store.ts";
export { redisVersion } from "./store-targets.ts";

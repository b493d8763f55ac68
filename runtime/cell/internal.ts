/** For tests only: the pure parts of the cell. */
export { IsolateLedger } from "./isolate-ledger.ts";
export { classifyRuntimeError } from "./runtime-error.ts";

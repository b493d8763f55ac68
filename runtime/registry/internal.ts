/** For tests alone: the parts behind the index. */
export { storageError } from "./damage.ts";
export { RegistryCore } from "./registry-core.ts";
export type { Sql, SqlRow } from "./sql.ts";
export {
  previousVersion,
  primaryVersion,
  recordArrival,
  recordReturn,
  shiftTraffic,
} from "./traffic.ts";

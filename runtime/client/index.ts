/** Typed client of the HTTP API; `isola/client` in an installed package. */
export {
  IsolaClient,
  MODULE_TYPES,
  type CallQuery,
  type ClientOptions,
  type InvokeInit,
  type LogQuery,
} from "./client.ts";
export { followEvents, readEvents, type ServerEvent } from "./events.ts";
export {
  type FollowRunOptions,
  type RunQuery,
  type RunRestartOptions,
  type RunsClient,
} from "./runs.ts";
export {
  type StoreBody,
  type StoreBucketClient,
  type StoreClient,
  type StoreGetOptions,
  type StoreJobClient,
  type StoreJobOptions,
  type StorePage,
  type StorePutOptions,
  type StoredObject,
  type TakenObject,
} from "./store.ts";
export { errorOf, type Fetch } from "./transport.ts";
export {
  IsolaError,
  ERRORS,
  type ErrorCode,
  type RunDetail,
  type RunGraph,
  type RunHistory,
  type RunHistoryLine,
  type RunInfo,
  type RunList,
} from "../contract/index.ts";

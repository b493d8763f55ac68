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
export { errorOf, type Fetch } from "./transport.ts";
export { IsolaError, ERRORS, type ErrorCode } from "../contract/index.ts";

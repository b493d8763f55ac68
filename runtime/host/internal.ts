/** What tests see of this room besides its index. */
export { NO_CAPABILITIES, findCapabilities, type Capabilities, works } from "./capabilities.ts";
export { quote, renderConfig } from "./capnp.ts";
export { spawnChild, type ChildExit } from "./child.ts";
export { Cgroups, findCgroupPlace, parseMounts, parseOwnGroups } from "./cgroup.ts";
export { cellConfig, egressConfig, gatewayConfig } from "./config.ts";
export { parseCrumbs, readCrumbs } from "./crumbs.ts";
export { openData, shortSocketRoot } from "./data-directory.ts";
export { Layout, identityOf } from "./layout.ts";
export { LineReader } from "./line-reader.ts";
export {
  RESTART,
  STOPPED,
  backoffMs,
  stepLife,
  type Life,
  type LifeEffect,
  type LifeEvent,
} from "./lifecycle.ts";
export { type PlatformParts, startPlatformWith } from "./platform.ts";
export { serveHost } from "./host-server.ts";
export { syncFile } from "./whole-file.ts";
export { decodeAddress, parseHalfClosed, parseMemory, parseStat } from "./proc.ts";
export { workerdPath } from "./release.ts";
export { sandboxCommand } from "./sandbox.ts";
export { SHARD_KEYS, actorFileName, placeShards, shardName } from "./shard-files.ts";
export { dedicateSlots, parseDedicated } from "./slots.ts";
export { systemTimers } from "./system-timers.ts";
export { CellWatch, WATCHDOG, type CellExit } from "./watchdog.ts";
export { bundleWorker, type WorkerName, workerBuildOptions } from "./worker-bundle.ts";

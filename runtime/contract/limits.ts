/**
 * Every bound of the platform: value, unit (last word of the name), why, and what happens beyond.
 * Relations between them are asserted when the module loads.
 */
import { assert } from "./assert.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

export const LIMITS = {
  /**
   * A function's bundle, all modules together. Beyond: `BUNDLE_TOO_LARGE`. workerd refuses 64 MiB.
   */
  bundleMaxBytes: 32 * MIB,
  /** Modules of one bundle. Beyond: `BUNDLE_TOO_LARGE`. */
  bundleMaxModules: 1_000,
  /**
   * Plain and secret environment of one version, serialized. workerd refuses 1 MiB. Beyond:
   * `CONFIG_INVALID`.
   */
  envMaxBytes: 512 * KIB,
  /** One secret. Beyond: `REQUEST_INVALID`. */
  secretMaxBytes: 64 * KIB,
  /** Body of a call of a data function, which is held in memory whole. Beyond: `BODY_TOO_LARGE`. */
  dataBodyMaxBytes: 16 * MIB,
  /**
   * Input or result of `ctx.call`. workerd's RPC messages end at 32 MiB. Beyond: `BODY_TOO_LARGE`.
   */
  callValueMaxBytes: 32 * MIB,
  /** JSON body of an admin request. Beyond: `BODY_TOO_LARGE`. */
  adminBodyMaxBytes: 1 * MIB,
  /**
   * Structured value put over HTTP, which the gateway parses. Beyond: `BODY_TOO_LARGE`; octets
   * stream without a bound like that.
   */
  storeValueMaxBytes: 8 * MIB,
  /** Longest chain of calls between functions. Beyond: `CALL_DEPTH`. */
  callDepthMax: 32,
  /** How often one function may stand in one chain of calls. Beyond: `CALL_LOOP`. */
  callRepeatMax: 8,
  /** Time a cell has to evaluate a new version's modules. Beyond: `PROBE_TIMEOUT`. */
  probeTimeoutMs: 1_000,
  /** Time between the deadline's signal and the end of the invocation. */
  graceMs: 1_000,
  /** Longest `timeoutMs` of a function. */
  timeoutMaxMs: 24 * 60 * 60 * 1_000,
  /** Longest `maxBlockMs` in shared cells: what a neighbour may have to wait (G6). */
  sharedBlockMaxMs: 1_000,
  /** Longest `maxBlockMs` in cells of a namespace's own. */
  blockMaxMs: 60_000,
  /** Isolates a cell keeps loaded; beyond, the least recently used idle one leaves. */
  isolatesPerCell: 2_000,
  /** Calls in flight in one cell; beyond, they wait in the gateway's queue. */
  inFlightPerCell: 256,
  /** Calls waiting in the gateway for one cell group. Beyond: `QUEUE_FULL`. */
  queueMaxCalls: 4_096,
  /** Calls of one namespace waiting in the gateway. Beyond: `QUEUE_FULL`. */
  queueMaxCallsPerNamespace: 1_024,
  /** Longest wait in the gateway's queue. Beyond: `CAPACITY`. */
  queueWaitMaxMs: 10_000,
  /** Longest wait for a restarting cell. Beyond: `CELL_RESTARTING`. */
  restartWaitMaxMs: 5_000,
  /** Body that the gateway keeps to repeat an idempotent call on another cell. */
  retryBodyMaxBytes: 64 * KIB,
  /** Convictions within `convictionWindowMs` until a version is quarantined. */
  convictionsToQuarantine: 3,
  /** Time after which a conviction is forgotten. */
  convictionWindowMs: 10 * 60 * 1_000,
  /** Log lines kept per function, and their text together. Beyond: the oldest leave. */
  logLinesPerFunction: 1_000,
  logBytesPerFunction: 256 * KIB,
  /** One log line. Beyond: cut, with a mark. */
  logLineMaxBytes: 16 * KIB,
  /** Log text that rides on a reply; beyond, it is flushed through the call scope. */
  logReplyMaxBytes: 4 * KIB,
  /** Log lines of one call between two flushes. Beyond: dropped and counted. */
  logLinesPerFlush: 256,
  /** Spans kept in memory. Beyond: the oldest leave. */
  spansKept: 10_000,
  /** Time the platform has to drain on SIGTERM; then what is left is ended. */
  drainMs: 10_000,
  /** Free space of the data directory below which deploys are refused. Beyond: `DISK_FULL`. */
  diskReserveBytes: 16 * MIB,
  /** Namespaces of one platform. Beyond: `QUOTA_EXCEEDED`. */
  namespacesMax: 10_000,
  /** Secrets of one namespace. Beyond: `QUOTA_EXCEEDED`. */
  secretsPerNamespace: 1_000,
  /** Tokens of one namespace. Beyond: `QUOTA_EXCEEDED`. */
  tokensPerNamespace: 1_000,
  /** Schedules of one function. Beyond: `CONFIG_INVALID`. */
  schedulesPerFunction: 100,
  /** Time that hourly usage is kept; older rows leave when the registry opens. */
  usageKeptMs: 90 * 24 * 60 * 60 * 1_000,
  /** Versions kept per function without traffic; older ones are collected. */
  idleVersionsKept: 10,
  /** How long after a change of routing a cell may still act on the one before. */
  routingSpreadMaxMs: 60_000,
  /** A Unix socket's path, by the kernel's sockaddr_un. Beyond: `START_FAILED`. */
  socketPathMaxBytes: 107,
  /** Cell slots that the configuration names beforehand (workerd's topology is static). */
  cellSlots: 16,
} as const;

/** Bounds of the ephemeral store; budgets hold per shard and may be changed by the operator. */
export const STORE_LIMITS = {
  /** A key in UTF-8. Beyond: `KEY_INVALID`. */
  keyMaxBytes: 1_024,
  /** A bucket's name. Beyond: `KEY_INVALID`. */
  bucketMaxBytes: 63,
  /** Largest value in a row of the shard; beyond, it lives in blocks. */
  inlineMaxBytes: 64 * KIB,
  /**
   * Largest value that may become a row, of those that memory alone held before: twice of it, as an
   * encoding may be, is within workerd's 2 MB.
   */
  rowMaxBytes: 512 * KIB,
  /** Largest value that is read or taken whole, as one message; beyond: `BODY_TOO_LARGE`. */
  wholeMaxBytes: 32 * MIB,
  /** Largest value that rides on an answer; beyond, it is read in chunks. */
  inlineReadMaxBytes: 1 * MIB,
  /** One chunk of a stream: the size at which a hop's cost stops to matter (2.4 GB/s, probed). */
  chunkMaxBytes: 1 * MIB,
  /** Largest object. Beyond: `BODY_TOO_LARGE`. */
  objectMaxBytes: 64 * 1024 * MIB,
  /** How much of a streamed put memory may hold; beyond, it goes to blocks while it arrives. */
  uploadMemoryMaxBytes: 8 * MIB,
  /** What an object costs besides its octets, in every tier. */
  overheadBytes: 128,
  /**
   * Objects and jobs of one shard. Their index is in memory whatever tier the values are in: about
   * 0.9 and 2 KiB each (measured), so all of them take less than half of a cell's default heap.
   * Beyond: `STORE_FULL`.
   */
  objectsPerShard: 250_000,
  jobsPerShard: 50_000,
  /** Of these, what one namespace may take: some are always left. Beyond: `QUOTA_EXCEEDED`. */
  objectsPerNamespace: 200_000,
  jobsPerNamespace: 40_000,
  /** Buckets of one job. Beyond: `QUOTA_EXCEEDED`. */
  bucketsPerJob: 1_000,
  /** Locks of one job. Beyond: `QUOTA_EXCEEDED`. */
  locksPerJob: 10_000,
  /** Objects in one page of a list. */
  listMaxKeys: 1_000,
  /** Longest time to live, idle time. Beyond: `VALUE_INVALID`. */
  ttlMaxMs: 10 * 365 * 24 * 60 * 60 * 1_000,
  /** Longest lease of a lock or a taken object. Beyond: `VALUE_INVALID`. */
  leaseMaxMs: 24 * 60 * 60 * 1_000,
  /** How long a job that ended is remembered, to tell it from one that never was. */
  endedJobKeptMs: 60 * 60 * 1_000,
  /** Memory, disk and cold budgets of one shard; beyond, the coldest values move down. */
  memoryBytes: 64 * MIB,
  diskBytes: 4 * 1024 * MIB,
  coldBytes: 1024 * 1024 * MIB,
  /** Memory of one job; beyond, its own coldest values move down. */
  jobMemoryBytes: 48 * MIB,
  /** Seconds that a full store asks to wait. */
  retryAfterSeconds: 1,
} as const;

/** Bounds of workflows and their runs. */
export const WORKFLOW_LIMITS = {
  /** Nodes of one plan, with those of branches and sub-DAGs. Beyond: `PLAN_INVALID`. */
  planMaxNodes: 10_000,
  /** A plan as canonical JSON. Beyond: `PLAN_INVALID`. */
  planMaxBytes: 1 * MIB,
  /** Sub-DAGs and branches in one another. Beyond: `PLAN_INVALID`. */
  planMaxDepth: 32,
  /** Items of one for-each. Beyond: `FAN_OUT_TOO_WIDE`. */
  forEachMaxItems: 10_000,
  /** Key of one item of a for-each. Beyond: `HOOK_INVALID`. */
  itemKeyMaxCharacters: 256,
  /** Rounds of one loop. Beyond: `PLAN_INVALID`. */
  loopMaxRounds: 10_000,
  /** Retries of one step. Beyond: `PLAN_INVALID`. */
  retryMaxLimit: 10_000,
  /** Longest sleep, wait or delay of a retry. Beyond: `PLAN_INVALID`. */
  waitMaxMs: 365 * 24 * 60 * 60 * 1_000,
  /** How long a wait for an event lasts where nothing else is said. */
  eventTimeoutMs: 24 * 60 * 60 * 1_000,
  /** Type of an event. Beyond: `REQUEST_INVALID`. */
  eventTypeMaxCharacters: 100,
  /** Events that a run keeps until somebody waits for them. Beyond: `QUOTA_EXCEEDED`. */
  eventsKept: 1_000,
  /** Event ids by which a repeated event is known; beyond, the oldest are forgotten. */
  eventIdsKept: 1_000,
  /** Deaths of the probation cell under one step until the step fails (G7). */
  deathsMax: 3,
  /** Steps of one code run. Beyond: the run fails with `QUOTA_EXCEEDED`. */
  codeMaxSteps: 25_000,
  /** Sessions of code that may be lost one after the other, each soon after it began. */
  codeLossesMax: 10,
  /** Id of a step in code, which is its kind, name and count. Beyond: `REQUEST_INVALID`. */
  stepNameMaxCharacters: 300,
  /** Hook calls that go to the workflow's isolate as one; beyond, they go in several calls. */
  hooksPerCall: 1_000,
  /** Runs that one attempt of a step may start by `callAsync`. Beyond: `QUOTA_EXCEEDED`. */
  startsPerAttempt: 1_000,
  /** Events that one attempt of a step may send. Beyond: `QUOTA_EXCEEDED`. */
  eventsPerAttempt: 1_000,
  /** Event that a step sends. Beyond: `BODY_TOO_LARGE`. */
  sentEventMaxBytes: 1 * MIB,
  /** Events of steps that are under way to other runs at once; beyond, they wait. */
  eventsAtOnce: 64,
  /** Callbacks under way in one shard, and of one namespace; beyond, they wait for one to end. */
  callbacksAtOnce: 64,
  callbacksAtOncePerNamespace: 16,
  /** How long the receiver of a callback has to answer; beyond, the attempt has failed. */
  callbackTimeoutMs: 10_000,
  /** A callback's URL. Beyond: `REQUEST_INVALID`. */
  callbackUrlMaxCharacters: 2_048,
} as const;

assert(STORE_LIMITS.jobMemoryBytes <= STORE_LIMITS.memoryBytes, "a job fits its shard");
assert(STORE_LIMITS.objectsPerNamespace < STORE_LIMITS.objectsPerShard, "none fills a shard");
assert(STORE_LIMITS.jobsPerNamespace < STORE_LIMITS.jobsPerShard, "none fills a shard with jobs");
assert(STORE_LIMITS.uploadMemoryMaxBytes < STORE_LIMITS.jobMemoryBytes, "an upload fits its job");
assert(LIMITS.bundleMaxBytes < 64 * MIB, "a bundle within our limit is within workerd's");
assert(LIMITS.callValueMaxBytes <= 32 * MIB, "a call's value fits one RPC message");
assert(LIMITS.envMaxBytes < MIB, "an environment within our limit is within workerd's");
assert(
  LIMITS.queueMaxCallsPerNamespace < LIMITS.queueMaxCalls,
  "one namespace cannot fill the queue",
);

/** Default quotas of a namespace; an operator may change each. */
export const DEFAULT_QUOTAS = {
  /** Deployed functions. Beyond: `QUOTA_EXCEEDED`. */
  functionsMax: 2_000,
  /** Bytes of all live bundles. Beyond: `QUOTA_EXCEEDED`. */
  bundleTotalMaxBytes: 1024 * MIB,
  /** Calls a second, with a burst of one second; 0 = no bound. Beyond: `RATE_LIMITED`. */
  callsPerSecondMax: 0,
  /** Calls in flight; 0 = no bound. Beyond: `RATE_LIMITED`. */
  inFlightMax: 0,
  /**
   * Bytes of all values in the store, whatever tier holds them; 0 = no bound. Beyond:
   * `QUOTA_EXCEEDED`. Shards are told every few seconds what the others hold.
   */
  storeMaxBytes: 0,
} as const;

export type Quotas = { -readonly [K in keyof typeof DEFAULT_QUOTAS]: number };

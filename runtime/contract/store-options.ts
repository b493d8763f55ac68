/** Options of `isola store`, for the table in `options.ts`. */
import { DEFAULT_BUCKET } from "./store-names.ts";

/** Those that name a bucket; `stat` and `remove` also an object in it. */
const STORE_OBJECTS = ["store list", "store get", "store put", "store remove", "store stat"];
export const STORE_VERBS = [
  "store jobs",
  "store create",
  "store end",
  "store buckets",
  ...STORE_OBJECTS,
];

export const STORE_OPTIONS = {
  bucket: {
    type: "text",
    value: "name",
    default: DEFAULT_BUCKET,
    help: "bucket of the store job",
    commands: STORE_OBJECTS,
  },
  prefix: {
    type: "text",
    value: "text",
    help: "only keys that begin with it",
    commands: ["store list"],
  },
  limit: {
    type: "integer",
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
    defaultText: "all; of runs: 50",
    help: "how many at most",
    commands: ["store list", "runs list"],
  },
  range: {
    type: "text",
    value: "first-last",
    pattern: /^(\d{1,15}-\d{0,15}|-\d{1,15})$/,
    form: "octets such as 0-1023, 1024- or -1024",
    help: "only these octets, both ends included",
    commands: ["store get"],
  },
  persist: {
    type: "switch",
    help: "keep it when the job ends",
    commands: ["store put"],
  },
  ttlMs: { type: "duration", flag: "ttl", help: "time to live", commands: ["store put"] },
  idleMs: {
    type: "duration",
    flag: "idle",
    help: "time without a read or write after which it goes",
    commands: ["store put"],
  },
  durability: {
    type: "choice",
    choices: ["memory", "disk"],
    defaultText: "the job's; of a job: memory",
    help: "what holds it until it is overwritten or the job ends",
    commands: ["store put", "store create"],
  },
  ifAbsent: {
    type: "switch",
    help: "only if there is nothing under the key",
    commands: ["store put"],
  },
  ifVersion: {
    type: "integer",
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
    help: "only if this version is there",
    commands: ["store put"],
  },
  valueType: {
    type: "choice",
    flag: "as",
    choices: ["bytes", "json"],
    default: "bytes",
    help: "octets as they are, or JSON that functions get as a value",
    commands: ["store put"],
  },
  workflow: {
    type: "text",
    value: "name",
    help: "name under which the needs of such jobs are learned",
    commands: ["store create"],
  },
  capacityMb: {
    type: "integer",
    unit: "MB",
    min: 0,
    max: 1_024 * 1_024,
    help: "hint: what the job will hold at once",
    commands: ["store create"],
  },
} as const;

/** What each process of the platform is bound to: the tables behind workerd's configurations. */
import { CALL_HEADER, DEFAULT_COMPATIBILITY_DATE, LIMITS } from "../contract/index.ts";
import { type BindingSpec, type ConfigSpec, type ServiceSpec, type WorkerSpec } from "./capnp.ts";
import { type Layout, allSlots } from "./layout.ts";
import { SHARD_KEYS } from "./shard-files.ts";
import type { RunsKept, ShardBudgets } from "./shard-budgets.ts";

/** File beside each configuration that holds the worker's program. */
export const MODULE_FILE = "main.js";

/** Node's timers wrap workerd's and cost every call that arms a deadline a few microseconds. */
export const PLATFORM_FLAGS = ["enable_request_signal", "no_nodejs_global_timers"];

/** Variables that hand secrets to a process; they appear in no file. */
export const ENVIRONMENT = {
  sealKey: "ISOLA_SEAL_KEY",
  adminToken: "ISOLA_ADMIN_TOKEN",
  mark: "ISOLA_MARK",
  s3AccessKeyId: "ISOLA_S3_ACCESS_KEY_ID",
  s3SecretAccessKey: "ISOLA_S3_SECRET_ACCESS_KEY",
  s3SessionToken: "ISOLA_S3_SESSION_TOKEN",
} as const;

/** What the gateway's worker reads as SETTINGS. */
export interface GatewaySettingsText {
  readonly form: "host";
  readonly dev: boolean;
  readonly publicPort: number;
  readonly version: string;
  readonly startedAtMs: number;
  readonly otlpEndpoint: string;
  readonly otlpHeaders: string;
  readonly [extra: string]: unknown;
}

export interface CellSettings {
  readonly slot: number;
  readonly role: "shared" | "dedicated" | "probation";
  readonly namespace?: string;
  readonly maxIsolates: number;
  /** Shards of the installation. */
  readonly shards: number;
  /** Those that live in this cell. */
  readonly ownShards: readonly number[];
  /** Of each of them. */
  readonly budgets?: ShardBudgets;
  readonly runs?: RunsKept;
  /** Its socket leads to a bucket. */
  readonly hasColdTier?: boolean;
}

/** Share of a cell's memory that one isolate's heap may take before V8 ends the process. */
const HEAP_SHARE = 0.75;

export function heapMaxMb(cellMemoryMb: number): number {
  return Math.max(32, Math.floor(cellMemoryMb * HEAP_SHARE));
}

const unix = (path: string): string => `unix:${path}`;
const NOWHERE: ServiceSpec = { kind: "network", name: "nowhere", allow: [] };

function serviceBinding(name: string, service: string): BindingSpec {
  return { kind: "service", name, target: { service } };
}

const environmentBinding = (name: string, variable: string): BindingSpec => ({
  kind: "environment",
  name,
  variable,
});

export function gatewayConfig(layout: Layout, settings: GatewaySettingsText): ConfigSpec {
  const slots = allSlots(LIMITS.cellSlots);
  const cells = slots.flatMap((slot): ServiceSpec[] => [
    {
      kind: "external",
      name: `cell-${slot}`,
      socketPath: layout.cellCall(slot),
      cfHeader: CALL_HEADER,
    },
    { kind: "external", name: `cell-${slot}-control`, socketPath: layout.cellControl(slot) },
  ]);
  const bindings = slots.flatMap((slot): BindingSpec[] => [
    serviceBinding(`CELL_${slot}`, `cell-${slot}`),
    serviceBinding(`CELLCTL_${slot}`, `cell-${slot}-control`),
  ]);
  const exports = settings.otlpEndpoint !== "";
  return {
    services: [
      {
        kind: "worker",
        name: "gateway",
        worker: {
          moduleFile: MODULE_FILE,
          compatibilityDate: DEFAULT_COMPATIBILITY_DATE,
          compatibilityFlags: PLATFORM_FLAGS,
          outbound: "nowhere",
          objects: {
            classes: [{ className: "Registry", uniqueKey: "isola-registry-v1" }],
            diskService: "state",
          },
          bindings: [
            { kind: "objects", name: "REGISTRY", className: "Registry" },
            { kind: "json", name: "SETTINGS", value: settings },
            environmentBinding("SEAL_KEY", ENVIRONMENT.sealKey),
            environmentBinding("ADMIN_TOKEN", ENVIRONMENT.adminToken),
            serviceBinding("HOST", "host"),
            serviceBinding("BLOBS", "blobs"),
            ...(exports ? [serviceBinding("OTLP", "otlp")] : []),
            ...bindings,
          ],
        },
      },
      NOWHERE,
      { kind: "disk", name: "state", path: layout.stateDir("gateway") },
      { kind: "disk", name: "blobs", path: layout.blobsDir },
      { kind: "external", name: "host", socketPath: layout.host() },
      // An operator's collector is often on this machine or in the private network.
      ...(exports ? [otlpNetwork()] : []),
      ...cells,
    ],
    sockets: [
      { name: "public", address: "", target: { service: "gateway" } },
      { name: "admin", address: "", target: { service: "gateway", entrypoint: "Admin" } },
      {
        name: "control",
        address: unix(layout.gatewayControl()),
        target: { service: "gateway", entrypoint: "Control" },
      },
      ...slots.map((slot) => ({
        name: `supply-${slot}`,
        address: unix(layout.supply(slot)),
        target: { service: "gateway", entrypoint: "Supply", props: { slot } },
        cfHeader: CALL_HEADER,
      })),
    ],
    v8Flags: [],
  };
}

function otlpNetwork(): ServiceSpec {
  const allow = ["public", "private", "local"];
  return { kind: "network", name: "otlp", allow, trustsBrowserCas: true };
}

/** A cell without shards has neither their classes nor a disk. */
function shardObjects(
  layout: Layout,
  { slot, ownShards, hasColdTier = false }: CellSettings,
): { worker: Pick<WorkerSpec, "objects">; bindings: BindingSpec[]; services: ServiceSpec[] } {
  if (ownShards.length === 0) return { worker: {}, bindings: [], services: [] };
  const [shardKey, blocksKey] = SHARD_KEYS;
  const socketPath = layout.cold(slot);
  const cold: ServiceSpec[] = hasColdTier ? [{ kind: "external", name: "cold", socketPath }] : [];
  const classes = [
    { className: "Shard", uniqueKey: shardKey },
    { className: "Blocks", uniqueKey: blocksKey },
  ];
  return {
    worker: { objects: { classes, diskService: "state" } },
    bindings: [
      { kind: "objects", name: "SHARD", className: "Shard" },
      { kind: "objects", name: "BLOCKS", className: "Blocks" },
      ...(hasColdTier ? [serviceBinding("COLD", "cold")] : []),
    ],
    services: [{ kind: "disk", name: "state", path: layout.stateDir(`cell-${slot}`) }, ...cold],
  };
}

export function cellConfig(layout: Layout, cell: CellSettings, cellMemoryMb: number): ConfigSpec {
  const { slot } = cell;
  const objects = shardObjects(layout, cell);
  return {
    services: [
      {
        kind: "worker",
        name: "cell",
        worker: {
          moduleFile: MODULE_FILE,
          compatibilityDate: DEFAULT_COMPATIBILITY_DATE,
          compatibilityFlags: PLATFORM_FLAGS,
          outbound: "nowhere",
          bindings: [
            { kind: "loader", name: "LOADER", id: "functions" },
            { kind: "json", name: "CELL", value: cell },
            environmentBinding("MARK", ENVIRONMENT.mark),
            serviceBinding("SUPPLY", "supply"),
            serviceBinding("EGRESS", "egress"),
            ...objects.bindings,
          ],
          ...objects.worker,
        },
      },
      NOWHERE,
      ...objects.services,
      {
        kind: "external",
        name: "supply",
        socketPath: layout.supply(slot),
        cfHeader: CALL_HEADER,
      },
      { kind: "external", name: "egress", socketPath: layout.egress() },
    ],
    sockets: [
      {
        name: "call",
        address: unix(layout.cellCall(slot)),
        target: { service: "cell" },
        cfHeader: CALL_HEADER,
      },
      {
        name: "control",
        address: unix(layout.cellControl(slot)),
        target: { service: "cell", entrypoint: "Control" },
      },
    ],
    v8Flags: [`--max-old-space-size=${heapMaxMb(cellMemoryMb)}`],
  };
}

/** @param allowPrivate CIDRs that are let through besides public addresses. */
export function egressConfig(layout: Layout, allowPrivate: readonly string[]): ConfigSpec {
  return {
    services: [
      {
        kind: "worker",
        name: "egress",
        worker: {
          moduleFile: MODULE_FILE,
          compatibilityDate: DEFAULT_COMPATIBILITY_DATE,
          compatibilityFlags: PLATFORM_FLAGS,
          outbound: "nowhere",
          bindings: [
            serviceBinding("INTERNET", "internet"),
            { kind: "json", name: "ALLOW_PRIVATE", value: allowPrivate },
          ],
        },
      },
      NOWHERE,
      {
        kind: "network",
        name: "internet",
        allow: ["public", ...allowPrivate],
        trustsBrowserCas: true,
      },
    ],
    sockets: [{ name: "egress", address: unix(layout.egress()), target: { service: "egress" } }],
    v8Flags: [],
  };
}

/**
 * The process of the cold tier: the one that holds the bucket's credentials. It is there only if a
 * bucket is configured; without it the cells find no cold tier and disk is the last one.
 */
import {
  type ColdBucket,
  DEFAULT_COMPATIBILITY_DATE,
  LIMITS,
  slotOfShard,
} from "../contract/index.ts";
import type { ConfigSpec } from "./capnp.ts";
import { ENVIRONMENT, MODULE_FILE, PLATFORM_FLAGS } from "./config.ts";
import type { Layout } from "./layout.ts";

/** An S3-compatible bucket and who may use it. */
export interface BucketOptions {
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  /** Before every key of this and other installations. */
  readonly prefix: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary credentials. */
  readonly sessionToken?: string | undefined;
}

/** Where this installation's objects are: two installations may share a bucket and a prefix. */
export function placeOf(options: BucketOptions, installation: string): ColdBucket {
  const { endpoint, bucket, region } = options;
  const base = options.prefix.replace(/\/*$/, "");
  return {
    endpoint: endpoint.replace(/\/+$/, ""),
    bucket,
    region,
    prefix: `${base === "" ? "" : `${base}/`}${installation}/`,
  };
}

export function bucketEnvironment(options: BucketOptions): Readonly<Record<string, string>> {
  return {
    [ENVIRONMENT.s3AccessKeyId]: options.accessKeyId,
    [ENVIRONMENT.s3SecretAccessKey]: options.secretAccessKey,
    [ENVIRONMENT.s3SessionToken]: options.sessionToken ?? "",
  };
}

/** Addresses that the process may connect to: the bucket's own, or what its name resolves to. */
function reachable(endpoint: string): readonly string[] {
  const { hostname } = new URL(endpoint);
  if (hostname.startsWith("[")) return [`${hostname.slice(1, -1)}/128`];
  if (/^[0-9.]+$/.test(hostname)) return [`${hostname}/32`];
  return ["public", "private", "local"];
}

function shardsOfCell(slot: number, cells: number, shards: number): readonly number[] {
  const all = Array.from({ length: shards }, (_, shard) => shard);
  return all.filter((shard) => slotOfShard(shard, cells) === slot);
}

const variable = (name: string, from: string) =>
  ({ kind: "environment", name, variable: from }) as const;

export function coldConfig(
  layout: Layout,
  place: ColdBucket,
  sizes: { readonly cells: number; readonly shards: number },
): ConfigSpec {
  const slots = Array.from({ length: Math.min(sizes.cells, LIMITS.cellSlots) }, (_, slot) => slot);
  return {
    services: [
      {
        kind: "worker",
        name: "cold",
        worker: {
          moduleFile: MODULE_FILE,
          compatibilityDate: DEFAULT_COMPATIBILITY_DATE,
          compatibilityFlags: PLATFORM_FLAGS,
          outbound: "nowhere",
          bindings: [
            { kind: "service", name: "S3", target: { service: "s3" } },
            { kind: "json", name: "BUCKET", value: place },
            variable("ACCESS_KEY_ID", ENVIRONMENT.s3AccessKeyId),
            variable("SECRET_ACCESS_KEY", ENVIRONMENT.s3SecretAccessKey),
            variable("SESSION_TOKEN", ENVIRONMENT.s3SessionToken),
          ],
        },
      },
      { kind: "network", name: "nowhere", allow: [] },
      { kind: "network", name: "s3", allow: reachable(place.endpoint), trustsBrowserCas: true },
    ],
    sockets: [
      {
        name: "control",
        address: `unix:${layout.coldControl()}`,
        target: { service: "cold" },
      },
      ...slots.map((slot) => ({
        name: `cold-${String(slot)}`,
        address: `unix:${layout.cold(slot)}`,
        target: {
          service: "cold",
          entrypoint: "Cold",
          props: { shards: shardsOfCell(slot, sizes.cells, sizes.shards) },
        },
      })),
    ],
    v8Flags: [],
  };
}

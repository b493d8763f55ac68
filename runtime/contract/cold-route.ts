/**
 * What a shard's cold tier and the process that holds the bucket's credentials say to each other,
 * over a socket of the cell's own, which is open to the cell's own shards alone:
 *
 *     PUT    /<shard>/<key>                              octets → 204
 *     POST   /<shard>/<key>?begin                        → ColdUpload: a value in parts
 *     PUT    /<shard>/<key>?upload=U&part=N              octets → ColdPart
 *     POST   /<shard>/<key>?upload=U                     tags in order, as JSON → 204
 *     DELETE /<shard>/<key>?upload=U                     → 204: drops its parts
 *     GET    /<shard>/<key>                              with Range → octets
 *     HEAD   /<shard>/<key>                              → Content-Length
 *     GET    /<shard>?cursor=C                           → ColdPage
 *     GET    /<shard>?uploads                            → ColdUploads that were begun, not ended
 *     POST   /<shard>?delete                             keys as JSON → ColdDeleted
 *
 * Anything else than 2xx is ColdFailure, with the bucket's status.
 */
const MIB = 1024 * 1024;

export const COLD_LIMITS = {
  /** Octets of one request; a larger value goes in parts. S3 wants at least 5 MiB in each. */
  partBytes: 8 * MIB,
  /** Parts of one value, by S3. */
  partsMax: 10_000,
  /** Keys of one delete, by S3. */
  deleteMaxKeys: 1_000,
} as const;

/** What a key looks like; other objects in the bucket are not ours and are left alone. */
export const COLD_KEY = /^[0-9A-Za-z._-]{1,128}$/;

/** Where the bucket is. */
export interface ColdBucket {
  /** Origin, and path if there is one, without a slash at the end. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  /** Of every key of the installation; empty or with a slash at the end. */
  readonly prefix: string;
}

export interface ColdUpload {
  readonly upload: string;
}

export interface ColdPart {
  readonly tag: string;
}

export interface ColdPage {
  readonly keys: readonly string[];
  readonly cursor?: string;
}

export interface ColdUploads {
  readonly uploads: readonly { readonly key: string; readonly upload: string }[];
  readonly isTruncated: boolean;
}

export interface ColdDeleted {
  /** Those that are still there. */
  readonly failed: readonly string[];
}

export interface ColdFailure {
  /** Status and code of the bucket's answer, for people. */
  readonly found: string;
}

/** The bucket of the store's cold tier, as the options name it: all of it, or none. */
import { IsolaError } from "../contract/index.ts";
import type { BucketOptions } from "../host/index.ts";
import type { CommandContext } from "./command.ts";

const REQUIRED = "ISOLA_S3_ENDPOINT, _BUCKET, _ACCESS_KEY_ID and _SECRET_ACCESS_KEY, or none";

/** Undefined if no bucket is named. Errors: `USAGE` where a part is missing. */
export function bucketOf(context: CommandContext): BucketOptions | undefined {
  const endpoint = context.option("s3Endpoint");
  const bucket = context.option("s3Bucket");
  // Credentials alone name nothing: they may stand in the environment of every command.
  if (endpoint === undefined && bucket === undefined) return undefined;
  const accessKeyId = context.option("s3AccessKeyId");
  const secretAccessKey = context.option("s3SecretAccessKey");
  const parts = { endpoint, bucket, accessKeyId, secretAccessKey };
  const missing = Object.entries(parts).flatMap(([name, value]) => (value ? [] : [name]));
  if (!endpoint || !bucket || !accessKeyId || !secretAccessKey) {
    throw new IsolaError("USAGE", {
      attempted: "use a bucket as the store's cold tier",
      found: `no ${missing.join(", no ")}`,
      required: REQUIRED,
    });
  }
  return {
    endpoint,
    bucket,
    accessKeyId,
    secretAccessKey,
    region: context.option("s3Region"),
    prefix: context.option("s3Prefix"),
    sessionToken: context.option("s3SessionToken"),
  };
}

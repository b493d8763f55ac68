/** The cold tier's Worker: an entrypoint with a socket for each cell that has shards. */
import { WorkerEntrypoint } from "cloudflare:workers";
import type { ColdBucket } from "../contract/index.ts";
import { handleCold } from "./cold-handler.ts";
import { S3Bucket } from "./s3-bucket.ts";

interface Env {
  /** Reaches the bucket's address. */
  readonly S3: Fetcher;
  readonly BUCKET: ColdBucket;
  readonly ACCESS_KEY_ID: string | null;
  readonly SECRET_ACCESS_KEY: string | null;
  readonly SESSION_TOKEN: string | null;
}

let bucket: S3Bucket | undefined;

function bucketOf(env: Env): S3Bucket {
  bucket ??= new S3Bucket(
    env.BUCKET,
    {
      accessKeyId: env.ACCESS_KEY_ID ?? "",
      secretAccessKey: env.SECRET_ACCESS_KEY ?? "",
      sessionToken: env.SESSION_TOKEN ?? "",
    },
    (url, init) => env.S3.fetch(url, init),
  );
  return bucket;
}

export class Cold extends WorkerEntrypoint<Env, { readonly shards: readonly number[] }> {
  override fetch(request: Request): Promise<Response> {
    return handleCold(request, {
      bucket: bucketOf(this.env),
      prefix: this.env.BUCKET.prefix,
      shards: this.ctx.props.shards,
      // oxlint-disable-next-line no-console -- stdout is the process's log; the host keeps it.
      warn: (line) => console.warn(`isola: ${line}`),
    });
  }
}

/** The host asks whether it serves. */
export default { fetch: () => new Response("cold\n") } satisfies ExportedHandler;

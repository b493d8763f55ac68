/** Tries what the cold tier needs of its bucket: write, read, list and delete an object. */
import { randomBytes } from "node:crypto";
import { AwsClient } from "aws4fetch";
import type { BucketOptions } from "./cold-process.ts";

const BOUND_MS = 3_000;

/** What went wrong, in a few words; undefined: nothing, or no bucket to try. */
export async function tryBucket(options: BucketOptions | undefined): Promise<string | undefined> {
  if (options === undefined) return undefined;
  const { accessKeyId, secretAccessKey, sessionToken, region } = options;
  const client = new AwsClient({
    accessKeyId,
    secretAccessKey,
    region,
    service: "s3",
    retries: 0,
    ...(sessionToken === undefined ? {} : { sessionToken }),
  });
  const root = `${options.endpoint.replace(/\/+$/, "")}/${options.bucket}`;
  const prefix = options.prefix.replace(/\/*$/, "/");
  const key = `${root}/${prefix}doctor-${randomBytes(8).toString("hex")}`;
  const steps = [
    ["write", key, { method: "PUT", body: "isola doctor" }],
    ["read", key, { method: "GET", headers: { range: "bytes=0-4" } }],
    ["list", `${root}?list-type=2&max-keys=1&prefix=${encodeURIComponent(prefix)}`, {}],
    ["delete", key, { method: "DELETE" }],
  ] as const;
  for (const [what, url, init] of steps) {
    try {
      const signal = AbortSignal.timeout(BOUND_MS);
      const answer = await client.fetch(url, { ...init, redirect: "manual", signal });
      const text = await answer.text();
      const code = /<Code>([^<]{1,100})<\/Code>/.exec(text)?.[1] ?? "";
      if (answer.status >= 300) return `${what}: ${answer.status} ${code}`.trimEnd();
    } catch (error) {
      const { cause, message } = error as Error;
      return `${what}: ${cause instanceof Error ? cause.message : message}`;
    }
  }
  return undefined;
}

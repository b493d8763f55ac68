/**
 * The cold tier's process: speaks S3 for the shards (runtime/contract/cold-route.ts).
 *
 * K1 It alone holds the bucket's credentials. A cell that was broken out of reaches, through its
 *    own socket, the objects of its own shards and nothing else.
 * K2 It holds one part of a value for each request, never more.
 */
import {
  COLD_KEY,
  COLD_LIMITS,
  type ColdDeleted,
  type ColdFailure,
  type ColdPage,
  type ColdUploads,
  IsolaError,
} from "../contract/index.ts";
import { type S3Bucket, type S3Request, encodeXml, xmlParts, xmlText } from "./s3-bucket.ts";

export interface ColdAround {
  readonly bucket: S3Bucket;
  /** Of every key; empty or with a slash at the end. */
  readonly prefix: string;
  /** Shards of the cell whose socket it is. */
  readonly shards: readonly number[];
  /** For the operator: what the bucket refused. */
  readonly warn: (line: string) => void;
}

interface Target {
  readonly around: ColdAround;
  readonly request: Request;
  readonly query: URLSearchParams;
  /** Of the shard's keys. */
  readonly prefix: string;
}

/** How many single deletes are in flight where the bucket knows no others. */
const DELETES_AT_ONCE = 16;
/** Statuses by which servers say that they do not know a request. */
const UNKNOWN_REQUEST = new Set([400, 404, 405, 501]);

export async function handleCold(request: Request, around: ColdAround): Promise<Response> {
  const { pathname, searchParams } = new URL(request.url);
  const [, shard = "", , key] = /^\/(\d{1,4})(\/([^/]+))?$/.exec(pathname) ?? [];
  const isOwn = around.shards.includes(Number(shard)) && shard !== "";
  if (!isOwn || (key !== undefined && !COLD_KEY.test(key))) {
    return failure(404, `no object of this cell: ${pathname.slice(0, 200)}`);
  }
  const prefix = `${around.prefix}shard-${shard}/`;
  const target = { around, request, query: searchParams, prefix };
  try {
    return await (key === undefined ? onShard(target) : onObject(target, prefix + key));
  } catch (error) {
    if (error instanceof IsolaError) return failure(error.status, error.parts.found);
    const found = `no answer of the bucket: ${error instanceof Error ? error.message : "?"}`;
    around.warn(`${request.method} ${pathname}: ${found}`);
    return failure(502, found);
  }
}

function onShard(target: Target): Promise<Response> {
  const { method } = target.request;
  if (method === "POST" && target.query.has("delete")) return deleteKeys(target);
  if (method === "GET" && target.query.has("uploads")) return listUploads(target);
  if (method === "GET") return listKeys(target);
  return Promise.resolve(failure(405, `${method} of a shard`));
}

async function onObject(target: Target, key: string): Promise<Response> {
  const { request, query } = target;
  const upload = query.get("upload");
  switch (request.method) {
    case "GET": {
      const range = request.headers.get("range");
      const answer = await ask(target, { method: "GET", key, headers: range ? { range } : {} });
      return answer.ok ? new Response(answer.body, kept(answer)) : refusal(target, answer);
    }
    case "HEAD": {
      const answer = await ask(target, { method: "HEAD", key });
      return new Response(null, kept(answer));
    }
    case "PUT":
      return putOctets(target, key, upload);
    case "POST":
      return upload === null ? beginUpload(target, key) : completeUpload(target, key, upload);
    case "DELETE": {
      if (upload === null) return failure(405, "DELETE of an object: use ?delete");
      const answer = await ask(target, { method: "DELETE", key, query: { uploadId: upload } });
      return answer.ok ? new Response(null, { status: 204 }) : refusal(target, answer);
    }
    default:
      return failure(405, request.method);
  }
}

function ask({ around, request }: Target, asked: S3Request): Promise<Response> {
  // A cell that went away, or no longer waits, ends the request to the bucket.
  return around.bucket.ask({ ...asked, signal: request.signal });
}

async function putOctets(target: Target, key: string, upload: string | null): Promise<Response> {
  const { query, request } = target;
  const declared = Number(request.headers.get("content-length") ?? 0);
  if (declared > COLD_LIMITS.partBytes) return failure(413, `a part of ${declared} octets`);
  const body = new Uint8Array(await request.arrayBuffer());
  const part = query.get("part") ?? "";
  const named = upload === null ? {} : { query: { partNumber: part, uploadId: upload } };
  const answer = await ask(target, { method: "PUT", key, body, ...named });
  if (!answer.ok) return refusal(target, answer);
  await answer.arrayBuffer();
  if (upload === null) return new Response(null, { status: 204 });
  return Response.json({ tag: answer.headers.get("etag") ?? "" });
}

async function beginUpload(target: Target, key: string): Promise<Response> {
  const answer = await ask(target, { method: "POST", key, query: { uploads: "" } });
  if (!answer.ok) return refusal(target, answer);
  const upload = xmlText(await answer.text(), "UploadId");
  return upload === undefined ? failure(502, "no UploadId") : Response.json({ upload });
}

async function completeUpload(target: Target, key: string, upload: string): Promise<Response> {
  const tags = await readTexts(target.request);
  const parts = tags.map(
    (tag, at) =>
      `<Part><PartNumber>${String(at + 1)}</PartNumber><ETag>${encodeXml(tag)}</ETag></Part>`,
  );
  const text = `<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`;
  const asked = { method: "POST", key, query: { uploadId: upload }, body: encode(text) } as const;
  const answer = await ask(target, asked);
  if (!answer.ok) return refusal(target, answer);
  // S3 may begin its answer before it knows how this ends.
  const said = await answer.text();
  const code = said.includes("<Error>") ? (xmlText(said, "Code") ?? "?") : undefined;
  if (code === undefined) return new Response(null, { status: 204 });
  return failure(code === "NoSuchUpload" ? 404 : 502, `200 with the error ${code}`);
}

async function listKeys(target: Target): Promise<Response> {
  const { prefix } = target;
  const cursor = target.query.get("cursor");
  const query = {
    "list-type": "2",
    "max-keys": "1000",
    prefix,
    ...(cursor === null ? {} : { "continuation-token": cursor }),
  };
  const answer = await ask(target, { method: "GET", query });
  if (!answer.ok) return refusal(target, answer);
  const xml = await answer.text();
  const next = xmlText(xml, "NextContinuationToken");
  const isTruncated = xmlText(xml, "IsTruncated") === "true" && next !== undefined;
  const page: ColdPage = {
    keys: ownKeys(xml, "Contents", prefix).map(({ key }) => key),
    ...(isTruncated ? { cursor: next } : {}),
  };
  return Response.json(page);
}

async function listUploads(target: Target): Promise<Response> {
  const query = { uploads: "", "max-uploads": "1000", prefix: target.prefix };
  const answer = await ask(target, { method: "GET", query });
  const none: ColdUploads = { uploads: [], isTruncated: false };
  // Some servers cannot say; a rule of the bucket's life cycle cleans up there.
  if (UNKNOWN_REQUEST.has(answer.status)) return Response.json(none);
  if (!answer.ok) return refusal(target, answer);
  const xml = await answer.text();
  const uploads = ownKeys(xml, "Upload", target.prefix).flatMap(({ key, inner }) => {
    const upload = xmlText(inner, "UploadId");
    return upload === undefined ? [] : [{ key, upload }];
  });
  const isTruncated = xmlText(xml, "IsTruncated") === "true";
  return Response.json({ uploads, isTruncated } satisfies ColdUploads);
}

/** Elements that name one of our objects, without the prefix; what else lies there stays. */
function ownKeys(
  xml: string,
  element: string,
  prefix: string,
): readonly { readonly key: string; readonly inner: string }[] {
  return xmlParts(xml, element).flatMap((inner) => {
    const whole = xmlText(inner, "Key") ?? "";
    const key = whole.slice(prefix.length);
    return whole.startsWith(prefix) && COLD_KEY.test(key) ? [{ key, inner }] : [];
  });
}

async function deleteKeys(target: Target): Promise<Response> {
  const keys = await readTexts(target.request);
  if (keys.length > COLD_LIMITS.deleteMaxKeys || !keys.every((key) => COLD_KEY.test(key))) {
    return failure(400, "keys that are none, or too many");
  }
  const { prefix } = target;
  const objects = keys.map((key) => `<Object><Key>${encodeXml(prefix + key)}</Key></Object>`);
  const body = encode(`<Delete><Quiet>true</Quiet>${objects.join("")}</Delete>`);
  const hash = await crypto.subtle.digest("SHA-256", body);
  const headers = {
    "x-amz-sdk-checksum-algorithm": "SHA256",
    "x-amz-checksum-sha256": btoa(String.fromCharCode(...new Uint8Array(hash))),
    "content-type": "application/xml",
  };
  const answer = await ask(target, { method: "POST", query: { delete: "" }, headers, body });
  if (UNKNOWN_REQUEST.has(answer.status)) return deleteEach(target, keys);
  if (!answer.ok) return refusal(target, answer);
  const failed = ownKeys(await answer.text(), "Error", prefix).map(({ key }) => key);
  return Response.json({ failed } satisfies ColdDeleted);
}

/** Not every server knows deletes in batches. */
async function deleteEach(target: Target, keys: readonly string[]): Promise<Response> {
  const failed: string[] = [];
  let next = 0;
  const deleteSome = async (): Promise<void> => {
    for (let key = keys[next++]; key !== undefined; key = keys[next++]) {
      const answer = await ask(target, { method: "DELETE", key: target.prefix + key });
      await answer.arrayBuffer();
      if (!answer.ok && answer.status !== 404) failed.push(key);
    }
  };
  await Promise.all(Array.from({ length: DELETES_AT_ONCE }, deleteSome));
  return Response.json({ failed } satisfies ColdDeleted);
}

async function readTexts(request: Request): Promise<readonly string[]> {
  const value = await request.json();
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  throw new IsolaError("REQUEST_INVALID", { attempted: "read a list of texts", found: "no list" });
}

function encode(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new TextEncoder().encode(text));
}

/** Status, and the headers that say how much there is. */
function kept(answer: Response): ResponseInit {
  const names = ["content-length", "content-range", "etag"];
  const headers = names.flatMap((name): [string, string][] => {
    const value = answer.headers.get(name);
    return value === null ? [] : [[name, value]];
  });
  return { status: answer.status, headers };
}

/** What the bucket refused, told to the operator and to the shard; never a credential. */
async function refusal({ around, request }: Target, answer: Response): Promise<Response> {
  const code = xmlText(await answer.text(), "Code") ?? "no code";
  const found = `${String(answer.status)} ${code} from the bucket`;
  const status = code === "RequestTimeout" ? 503 : answer.status;
  // A redirect, in a request of ours, would be followed.
  const shown = status < 400 ? 502 : status;
  if (shown !== 404) {
    around.warn(`${request.method} ${new URL(request.url).pathname}: ${found}`);
  }
  return failure(shown, found, answer.headers.get("retry-after"));
}

function failure(status: number, found: string, retryAfter: string | null = null): Response {
  const headers = retryAfter === null ? {} : { "retry-after": retryAfter };
  return Response.json({ found } satisfies ColdFailure, { status, headers });
}

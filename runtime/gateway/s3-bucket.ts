/** One bucket over the S3 API: signs requests, reads the few shapes of XML that it needs. */
import { AwsV4Signer } from "aws4fetch";
import type { ColdBucket } from "../contract/index.ts";

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary credentials; empty: none. */
  readonly sessionToken: string;
}

export interface S3Request {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** Whole key; absent: the bucket itself. */
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
  readonly signal?: AbortSignal;
}

export type Send = (url: string, init: RequestInit) => Promise<Response>;

export class S3Bucket {
  readonly #place: ColdBucket;
  readonly #credentials: S3Credentials;
  readonly #send: Send;
  /** Signing keys, one a day. */
  readonly #keys = new Map<string, ArrayBuffer>();

  constructor(place: ColdBucket, credentials: S3Credentials, send: Send) {
    this.#place = place;
    this.#credentials = credentials;
    this.#send = send;
  }

  /** Path style, which every server knows. The body is signed too: what arrives is what left. */
  async ask({ method, key, query, headers = {}, body, signal }: S3Request): Promise<Response> {
    const { endpoint, bucket, region } = this.#place;
    const path = key === undefined ? bucket : `${bucket}/${encodeKey(key)}`;
    const search = query === undefined ? "" : `?${queryOf(query)}`;
    const hash = await crypto.subtle.digest("SHA-256", body ?? new Uint8Array());
    if (this.#keys.size > 1) this.#keys.clear();
    const { sessionToken, ...keys } = this.#credentials;
    const signer = new AwsV4Signer({
      ...keys,
      ...(sessionToken === "" ? {} : { sessionToken }),
      url: `${endpoint}/${path}${search}`,
      method,
      headers: { ...headers, "x-amz-content-sha256": hex(hash) },
      service: "s3",
      region,
      cache: this.#keys,
    });
    const signed = await signer.sign();
    return this.#send(signed.url.toString(), {
      method,
      headers: signed.headers,
      // A redirect names another region or a login page: an answer as good as a refusal.
      redirect: "manual",
      ...(body === undefined ? {} : { body }),
      ...(signal === undefined ? {} : { signal }),
    });
  }
}

function encodeKey(key: string): string {
  return key.split("/").map(encodeURIComponent).join("/");
}

function queryOf(query: Readonly<Record<string, string>>): string {
  // S3 signs a space as %20, which URLSearchParams would write as a plus.
  return Object.entries(query)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join("&");
}

function hex(bytes: ArrayBuffer): string {
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
};

function decodeXml(text: string): string {
  return text.replaceAll(/&(#x?[0-9a-f]+|[a-z]+);/gi, (whole, name: string) => {
    if (!name.startsWith("#")) return ENTITIES[name] ?? whole;
    const isHex = name[1]?.toLowerCase() === "x";
    const code = Number.parseInt(name.slice(isHex ? 2 : 1), isHex ? 16 : 10);
    return code <= 0x10_ff_ff ? String.fromCodePoint(code) : whole;
  });
}

export function encodeXml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (char) => `&#${String(char.codePointAt(0))};`);
}

/** Text of the first such element, decoded; elements of S3's answers do not nest in themselves. */
export function xmlText(xml: string, name: string): string | undefined {
  const [, text] = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml) ?? [];
  return text === undefined ? undefined : decodeXml(text);
}

/** What stands in each such element. */
export function xmlParts(xml: string, name: string): readonly string[] {
  return [...xml.matchAll(new RegExp(`<${name}>([^]*?)</${name}>`, "g"))].map(
    ([, inner = ""]) => inner,
  );
}

/**
 * The cold tier of one shard: an S3-compatible bucket, behind the process that holds its
 * credentials (runtime/contract/cold-route.ts).
 *
 * C1 What is on its way to the bucket is held in memory at most `HELD_MAX_BYTES` together,
 *    however large the values and however many (a 64 GiB value goes in parts of 8 MiB).
 * C2 A value is there whole or not at all: parts count when the upload is completed, and the sweep
 *    drops the parts of uploads that a crash left open (G4).
 * C3 A failure never deletes: what is in doubt is kept, and swept at the next opening.
 */
import {
  COLD_LIMITS,
  type ColdDeleted,
  type ColdPage,
  type ColdPart,
  type ColdTier,
  type ColdUpload,
  type ColdUploads,
  IsolaError,
  STORE_LIMITS,
  assert,
} from "../../contract/index.ts";
import { ByteRoom } from "./byte-room.ts";
import { type ColdAsk, ColdClient, type ColdSeams, coldUnavailable } from "./cold-client.ts";

type Read = (start: number, end: number) => Promise<Uint8Array>;

/** Two parts: one is read from disk while the other is on its way. */
const PARTS_AT_ONCE = 2;
const HELD_MAX_BYTES = PARTS_AT_ONCE * COLD_LIMITS.partBytes;
const DELETE_ROUNDS = 3;

const done = async (response: Response): Promise<true> => {
  await response.arrayBuffer();
  return true;
};

async function json<T>(response: Response): Promise<T> {
  return (await response.json()) as T;
}

export class BucketTier implements ColdTier {
  readonly #client: ColdClient;
  readonly #path: string;
  readonly #room = new ByteRoom(HELD_MAX_BYTES);
  /** Keys whose upload in parts is this process's own, and open. */
  readonly #uploading = new Set<string>();

  constructor(shard: number, seams: ColdSeams) {
    this.#client = new ColdClient(seams);
    this.#path = `/${String(shard)}`;
  }

  /** Errors: `COLD_UNAVAILABLE`, and what `read` throws. */
  async put(key: string, sizeBytes: number, read: Read): Promise<void> {
    if (sizeBytes > COLD_LIMITS.partBytes) {
      await this.#putParts(key, sizeBytes, read);
      return;
    }
    await this.#room.hold(sizeBytes, async () => {
      const body = await readWhole(read, 0, sizeBytes);
      const init = { method: "PUT", body } as const;
      await this.#ask({ attempted: `write ${key}`, key, init, bytes: sizeBytes, read: done });
    });
  }

  /** Errors: `COLD_UNAVAILABLE`; `VALUE_LOST` when the bucket no longer has it. */
  async get(key: string, start: number, end: number): Promise<Uint8Array> {
    const bytes = end - start;
    if (bytes === 0) return new Uint8Array();
    const headers = { range: `bytes=${String(start)}-${String(end - 1)}` };
    return this.#ask({
      attempted: `read ${key}`,
      key,
      init: { method: "GET", headers },
      bytes,
      read: async (response) => {
        const whole = new Uint8Array(await response.arrayBuffer());
        // A server that knows no ranges answers with everything.
        const found = response.status === 206 ? whole : whole.subarray(start, end);
        return found.byteLength === bytes ? found : undefined;
      },
      refused: async (status) => {
        if (status !== 404 && status !== 416) return undefined;
        throw new IsolaError("VALUE_LOST", {
          attempted: "read a value from the cold tier",
          found: `the bucket answers ${String(status)} for it`,
          required: "a bucket in which nobody else deletes or overwrites",
        });
      },
    });
  }

  /** Unknown keys are ignored. Errors: `COLD_UNAVAILABLE`; some may be deleted then. */
  async delete(keys: readonly string[]): Promise<void> {
    const { deleteMaxKeys } = COLD_LIMITS;
    for (let at = 0; at < keys.length; at += deleteMaxKeys) {
      await this.#deleteSome(keys.slice(at, at + deleteMaxKeys));
    }
  }

  /** Every key of the shard; drops the parts that former openings left (C2). */
  async *list(): AsyncIterable<string> {
    await this.#dropUploads();
    let cursor: string | undefined;
    do {
      const query = cursor === undefined ? "" : `?cursor=${encodeURIComponent(cursor)}`;
      const page: ColdPage = await this.#ask({
        attempted: "list the cold tier",
        query,
        init: { method: "GET" },
        read: json<ColdPage>,
      });
      yield* page.keys;
      ({ cursor } = page);
    } while (cursor !== undefined);
  }

  async #putParts(key: string, sizeBytes: number, read: Read): Promise<void> {
    this.#uploading.add(key);
    try {
      const { upload } = await this.#ask({
        attempted: `write ${key}`,
        key,
        query: "?begin",
        init: { method: "POST" },
        read: json<ColdUpload>,
      });
      try {
        const tags = await this.#sendParts(key, upload, sizeBytes, read);
        await this.#complete(key, upload, sizeBytes, tags);
      } catch (error) {
        await this.#dropUpload(key, upload).catch(() => {
          // The next opening finds it.
        });
        throw error;
      }
    } finally {
      this.#uploading.delete(key);
    }
  }

  async #sendParts(key: string, upload: string, sizeBytes: number, read: Read): Promise<string[]> {
    const { partBytes } = COLD_LIMITS;
    const tags: string[] = Array.from({ length: Math.ceil(sizeBytes / partBytes) }, () => "");
    let next = 0;
    let hasFailed = false;
    const sendSome = async (): Promise<void> => {
      while (next < tags.length && !hasFailed) {
        const part = next++;
        const start = part * partBytes;
        const end = Math.min(start + partBytes, sizeBytes);
        await this.#room.hold(end - start, async () => {
          const body = await readWhole(read, start, end);
          tags[part] = await this.#sendPart(key, upload, part, body);
        });
      }
    };
    const senders = Array.from({ length: PARTS_AT_ONCE }, () =>
      sendSome().catch((error: unknown) => {
        hasFailed = true;
        throw error;
      }),
    );
    // All have ended before anything is dropped: a part that comes later would stay.
    const outcomes = await Promise.allSettled(senders);
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
    return tags;
  }

  async #sendPart(
    key: string,
    upload: string,
    part: number,
    body: Uint8Array<ArrayBuffer>,
  ): Promise<string> {
    const { tag } = await this.#ask({
      attempted: `write ${key}`,
      key,
      query: `?upload=${encodeURIComponent(upload)}&part=${String(part + 1)}`,
      init: { method: "PUT", body },
      bytes: body.byteLength,
      read: json<ColdPart>,
    });
    return tag;
  }

  async #complete(
    key: string,
    upload: string,
    sizeBytes: number,
    tags: readonly string[],
  ): Promise<void> {
    try {
      await this.#ask({
        attempted: `write ${key}`,
        key,
        query: `?upload=${encodeURIComponent(upload)}`,
        init: { method: "POST", body: encodeJson(tags) },
        read: done,
      });
    } catch (error) {
      // The answer to an attempt before may be what was lost: then there is no upload any more,
      // because it is complete. A key is written once, so what lies under it is this value.
      if ((await this.#sizeOf(key)) !== sizeBytes) throw error;
    }
  }

  #sizeOf(key: string): Promise<number> {
    return this.#ask({
      attempted: `look at ${key}`,
      key,
      init: { method: "HEAD" },
      read: async (response) => Number(response.headers.get("content-length")),
      refused: async (status) => (status === 404 ? -1 : undefined),
    });
  }

  async #dropUpload(key: string, upload: string): Promise<void> {
    await this.#ask({
      attempted: `drop the parts of ${key}`,
      key,
      query: `?upload=${encodeURIComponent(upload)}`,
      init: { method: "DELETE" },
      read: done,
      refused: async (status) => (status === 404 ? true : undefined),
    });
  }

  /** Parts that no value has, of openings before this one. */
  async #dropUploads(): Promise<void> {
    for (;;) {
      const { uploads, isTruncated } = await this.#ask({
        attempted: "list the uploads of the cold tier",
        query: "?uploads",
        init: { method: "GET" },
        read: json<ColdUploads>,
      });
      let dropped = 0;
      for (const { key, upload } of uploads) {
        if (this.#uploading.has(key)) continue;
        // Some servers cannot; that keeps nobody from looking for keys.
        const isDropped = await this.#dropUpload(key, upload).then(
          () => true,
          () => false,
        );
        if (isDropped) dropped += 1;
      }
      if (!isTruncated || dropped === 0) return;
    }
  }

  async #deleteSome(keys: readonly string[]): Promise<void> {
    let left = keys;
    for (let round = 0; round < DELETE_ROUNDS && left.length > 0; round++) {
      const { failed } = await this.#ask({
        attempted: "delete from the cold tier",
        query: "?delete",
        init: { method: "POST", body: encodeJson(left) },
        read: json<ColdDeleted>,
      });
      left = failed;
    }
    if (left.length === 0) return;
    throw coldUnavailable("delete from the cold tier", `${String(left.length)} keys stay`);
  }

  #ask<T>(ask: Omit<ColdAsk<T>, "path"> & { key?: string; query?: string }): Promise<T> {
    const { key, query = "", ...rest } = ask;
    const path = key === undefined ? this.#path : `${this.#path}/${key}`;
    return this.#client.ask({ ...rest, path: `${path}${query}` });
  }
}

function encodeJson(value: unknown): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new TextEncoder().encode(JSON.stringify(value)));
}

/** Octets `[start, end)` in one piece, read as the tiers above read: a chunk at a time. */
async function readWhole(read: Read, start: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
  const whole = new Uint8Array(end - start);
  for (let at = start; at < end; at += STORE_LIMITS.chunkMaxBytes) {
    const until = Math.min(at + STORE_LIMITS.chunkMaxBytes, end);
    const chunk = await read(at, until);
    assert(chunk.byteLength === until - at, "a tier gives the octets that it is asked for");
    whole.set(chunk, at - start);
  }
  return whole;
}

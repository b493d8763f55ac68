/**
 * Bundles by hash in a Durable Object, in place of the host form's directory: the same PUT, GET
 * and DELETE. Rows hold at most 1 MiB, below the platform's 2 MB.
 */
import { DurableObject } from "cloudflare:workers";
import { BLOB_SCHEMA, BLOB_STATEMENTS } from "./schema.ts";

const CHUNK_BYTES = 1024 * 1024;

export class BlobStore extends DurableObject {
  constructor(ctx: DurableObjectState, env: unknown) {
    super(ctx, env as never);
    for (const migration of BLOB_SCHEMA) ctx.storage.sql.exec(migration);
  }

  override async fetch(request: Request): Promise<Response> {
    const name = new URL(request.url).pathname.slice(1);
    switch (request.method) {
      case "PUT":
        this.#put(name, new Uint8Array(await request.arrayBuffer()));
        await this.ctx.storage.sync();
        return new Response(null, { status: 204 });
      case "HEAD":
      case "GET":
        return this.#get(name, request.method === "HEAD");
      case "DELETE":
        this.ctx.storage.sql.exec(BLOB_STATEMENTS.remove, name);
        return new Response(null, { status: 204 });
      default:
        return new Response(null, { status: 405 });
    }
  }

  #put(name: string, bytes: Uint8Array): void {
    const { sql } = this.ctx.storage;
    this.ctx.storage.transactionSync(() => {
      sql.exec(BLOB_STATEMENTS.remove, name);
      for (let part = 0; part * CHUNK_BYTES < Math.max(1, bytes.byteLength); part += 1) {
        const chunk = bytes.slice(part * CHUNK_BYTES, (part + 1) * CHUNK_BYTES);
        sql.exec(BLOB_STATEMENTS.add, name, part, chunk.buffer);
      }
    });
  }

  #get(name: string, isHead: boolean): Response {
    const rows = this.ctx.storage.sql
      .exec<{ bytes: ArrayBuffer }>(BLOB_STATEMENTS.parts, name)
      .toArray();
    if (rows.length === 0) return new Response(null, { status: 404 });
    return new Response(isHead ? null : new Blob(rows.map((row) => row.bytes)));
  }
}

/**
 * A client's body on its way to a shard, at constant memory.
 *
 * 1. What reaches the shard ends whole only if the client's body did. A body cut short ends the
 *    request to the shard by its signal, never by aborting the stream: workerd ends an aborted
 *    body of unknown length as if it were whole.
 * 2. A shard may answer before it has read all. The rest of the body is read all the same, within
 *    a bound: a client that is still sending when the connection closes sees no answer.
 */
import { DISCARD_MAX_BYTES } from "./request-body.ts";

const BUFFER_BYTES = 64 * 1024;

export interface ShardUpload {
  readonly stream: ReadableStream<Uint8Array>;
  /** Of the request that carries the stream. */
  readonly controller: AbortController;
  /** `cut`: the client's body broke off; `refused`: the shard took no more. Never rejects. */
  readonly ended: Promise<"whole" | "cut" | "refused">;
}

/** @param lengthBytes as the client announced it; undefined: unknown. */
export function startUpload(
  source: ReadableStream<Uint8Array>,
  lengthBytes: number | undefined,
): ShardUpload {
  const { readable, writable } =
    lengthBytes === undefined ? new IdentityTransformStream() : new FixedLengthStream(lengthBytes);
  const controller = new AbortController();
  return { stream: readable, controller, ended: pump(source, writable, controller) };
}

async function pump(
  source: ReadableStream<Uint8Array>,
  sink: WritableStream<Uint8Array>,
  controller: AbortController,
): Promise<"whole" | "cut" | "refused"> {
  const reader = source.getReader({ mode: "byob" });
  const writer = sink.getWriter();
  // The shard may go at any time; without this its going is unhandled.
  writer.closed.catch(() => undefined);
  let isRefused = false;
  let discarded = 0;
  let buffer = new Uint8Array(BUFFER_BYTES);
  for (;;) {
    const next = await reader.read(buffer).catch((thrown: unknown) => ({ thrown }));
    if ("thrown" in next) {
      controller.abort(next.thrown);
      return "cut";
    }
    if (next.done) break;
    const { value } = next;
    if (isRefused) discarded += value.byteLength;
    else isRefused = !(await succeeds(writer.write(value)));
    if (discarded > DISCARD_MAX_BYTES) {
      await reader.cancel().catch(() => undefined);
      return "refused";
    }
    buffer = new Uint8Array(value.buffer);
    if (buffer.byteLength === 0) buffer = new Uint8Array(BUFFER_BYTES);
  }
  if (isRefused || !(await succeeds(writer.close()))) return "refused";
  return "whole";
}

async function succeeds(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => true,
    () => false,
  );
}

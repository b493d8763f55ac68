/** Streams `?bytes=` (10 MB if absent) in blocks of 64 KiB, made only as fast as they are read. */
const BLOCK_BYTES = 64 * 1024;
const DEFAULT_BYTES = 10_000_000;
const MAX_BYTES = 1_000_000_000;

function blockOf(lengthBytes: number): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(lengthBytes);
  for (let index = 0; index < lengthBytes; index++) block[index] = 32 + (index % 95);
  return block;
}

export default {
  fetch(request: Request): Response {
    const asked = new URL(request.url).searchParams.get("bytes");
    const totalBytes = asked === null ? DEFAULT_BYTES : Number(asked);
    if (!Number.isSafeInteger(totalBytes) || totalBytes < 0 || totalBytes > MAX_BYTES) {
      return new Response(`bytes must be an integer from 0 to ${MAX_BYTES}\n`, { status: 400 });
    }
    const block = blockOf(BLOCK_BYTES);
    let leftBytes = totalBytes;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (leftBytes === 0) {
          controller.close();
          return;
        }
        const lengthBytes = Math.min(leftBytes, BLOCK_BYTES);
        leftBytes -= lengthBytes;
        controller.enqueue(block.slice(0, lengthBytes));
      },
    });
    return new Response(body, { headers: { "content-type": "text/plain" } });
  },
} satisfies ExportedHandler;

/** Bodies that stream, both ways, at constant memory. */
import type { IncomingMessage } from "node:http";
import { expect } from "vitest";
import { readAnswer } from "../../support/http-calls.ts";
import { pause } from "../../support/platform.ts";
import type { CaseGroup } from "./case.ts";

const STREAMS = `
  const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
  export default {
    async fetch(request) {
      const url = new URL(request.url);
      const size = Number(url.searchParams.get("size") ?? 0);
      switch (url.pathname) {
        case "/echo":
          return new Response(request.body, { headers: { "content-type": "text/plain" } });
        case "/upper":
          return new Response(request.body.pipeThrough(new TransformStream({
            transform: (chunk, to) =>
              to.enqueue(chunk.map((b) => (b > 96 && b < 123 ? b - 32 : b))),
          })));
        case "/download": {
          let left = size;
          const block = new Uint8Array(65536).fill(120);
          return new Response(new ReadableStream({
            type: "bytes",
            pull(to) {
              if (left <= 0) return to.close();
              const chunk = block.slice(0, Math.min(left, 65536));
              left -= chunk.length;
              to.enqueue(chunk);
            },
          }));
        }
        case "/sized": {
          const { readable, writable } = new FixedLengthStream(size);
          const writer = writable.getWriter();
          writer.write(new Uint8Array(size)).then(() => writer.close());
          return new Response(readable);
        }
        case "/count": {
          let bytes = 0;
          for await (const chunk of request.body) bytes += chunk.length;
          return Response.json({ bytes, length: request.headers.get("content-length") });
        }
        case "/ignore":
          return new Response("ignored");
        case "/breaks": {
          const { readable, writable } = new TransformStream();
          const writer = writable.getWriter();
          writer.write(new TextEncoder().encode("begun"));
          setTimeout(() => writer.abort(new Error("broken on purpose")), 50);
          return new Response(readable);
        }
        case "/events": {
          const { readable, writable } = new TransformStream();
          const writer = writable.getWriter();
          (async () => {
            for (let i = 1; i <= 3; i += 1) {
              await writer.write(new TextEncoder().encode("id: " + i + "\\ndata: {}\\n\\n"));
              await sleep(100);
            }
            await writer.close();
          })();
          return new Response(readable, { headers: { "content-type": "text/event-stream" } });
        }
      }
    },
  };`;

const MIB = 1024 * 1024;

/** Chunks as they come, with the time of each since the first. */
async function timedChunks(response: IncomingMessage): Promise<{ text: string; atMs: number }[]> {
  const chunks: { text: string; atMs: number }[] = [];
  const startedAtMs = performance.now();
  for await (const chunk of response) {
    chunks.push({ text: String(chunk), atMs: performance.now() - startedAtMs });
  }
  return chunks;
}

export const streamCases: CaseGroup = {
  topic: "streams",
  prepare: async (platform) => {
    await platform.deploy("streams", STREAMS);
  },
  cases: {
    "what is sent comes back while more is still being sent": async (platform) => {
      for (const path of ["echo", "upper"]) {
        const call = platform.http.open(`/function/streams/${path}`, { method: "POST" });
        call.request.write("first");
        const response = await call.response;
        const read = response[Symbol.asyncIterator]();
        const next = async (): Promise<string> => String((await read.next()).value).toLowerCase();
        expect(await next()).toBe("first");
        call.request.write("second");
        expect(await next()).toBe("second");
        call.request.end("third");
        expect(await next()).toBe("third");
        expect((await read.next()).done).toBe(true);
      }
      await platform.idle();
    },

    "server-sent events arrive one by one": async (platform) => {
      const call = platform.http.open("/function/streams/events");
      call.request.end();
      const response = await call.response;
      expect(response.headers["content-type"]).toBe("text/event-stream");
      const chunks = await timedChunks(response);
      expect(chunks.map(({ text }) => text).join("")).toBe(
        "id: 1\ndata: {}\n\nid: 2\ndata: {}\n\nid: 3\ndata: {}\n\n",
      );
      expect(chunks.at(-1)?.atMs).toBeGreaterThan(100);
      await platform.idle();
    },

    "bytes are whole in either direction, with a length and without": async (platform) => {
      const body = Buffer.alloc(5 * MIB, 1);
      const counted = await platform.call("streams/count", { body, method: "PUT" });
      expect(counted.json).toEqual({ bytes: 5 * MIB, length: String(5 * MIB) });
      const chunked = platform.http.open("/function/streams/count", { method: "POST" });
      for (let sent = 0; sent < 20; sent += 1) chunked.request.write(Buffer.alloc(MIB));
      chunked.request.end();
      expect((await readAnswer(await chunked.response)).json).toEqual({
        bytes: 20 * MIB,
        length: null,
      });
      const sized = await platform.call("streams/sized?size=3000000");
      expect(sized.bytes.length).toBe(3_000_000);
      // Between two Workers of one process a length is not told.
      if (platform.form === "host") expect(sized.headers["content-length"]).toBe("3000000");
      const streamed = await platform.call(`streams/download?size=${String(3 * MIB + 7)}`);
      expect(streamed.bytes.length).toBe(3 * MIB + 7);
      const [record] = (await platform.client.calls({ function: "streams" })).slice(-1);
      expect(record).toMatchObject({ outcome: "ok", bytesOut: 3 * MIB + 7 });
    },

    "a function that does not read its body answers all the same": async (platform) => {
      const answer = await platform.call("streams/ignore", { body: Buffer.alloc(1000) });
      expect(answer.text).toBe("ignored");
      expect((await platform.call("streams/ignore")).text).toBe("ignored");
      await platform.idle();
    },

    "a stream that breaks off breaks off at the client": async (platform) => {
      const call = platform.http.open("/function/streams/breaks");
      call.request.end();
      const response = await call.response;
      expect(response.statusCode).toBe(200);
      await expect(readAnswer(response)).rejects.toThrow(/aborted|reset|hang up/);
      await platform.idle();
      await pause(50);
      const [record] = (await platform.client.calls({ function: "streams" })).slice(-1);
      expect(record).toMatchObject({ outcome: "canceled", status: 200 });
    },
  },
};

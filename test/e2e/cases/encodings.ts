/** Compressed bodies pass as they are, and are made where a function only names the encoding. */
import { gunzipSync, gzipSync } from "node:zlib";
import { expect } from "vitest";
import type { CaseGroup } from "./case.ts";

const ENCODED = `
  const gzip = async (text) => {
    const packed = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
    return new Uint8Array(await new Response(packed).arrayBuffer());
  };
  const encoding = { "content-encoding": "gzip", "content-type": "text/plain" };
  export default {
    async fetch(request) {
      switch (new URL(request.url).pathname) {
        case "/named": return new Response("named ".repeat(1000), { headers: encoding });
        case "/packed":
          return new Response(await gzip("packed ".repeat(1000)), {
            encodeBody: "manual", headers: encoding,
          });
        case "/streamed": {
          const { readable, writable } = new TransformStream();
          const writer = writable.getWriter();
          (async () => {
            for (let at = 0; at < 10; at += 1) {
              await writer.write(new TextEncoder().encode("part ".repeat(100)));
              await new Promise((go) => setTimeout(go, 5));
            }
            await writer.close();
          })();
          return new Response(readable, { headers: encoding });
        }
        default: {
          const bytes = new Uint8Array(await request.arrayBuffer());
          return Response.json({ first: [...bytes.slice(0, 2)], length: bytes.length,
            encoding: request.headers.get("content-encoding") });
        }
      }
    },
  };`;

export const encodingCases: CaseGroup = {
  topic: "content encodings",
  prepare: async (platform) => {
    await platform.deploy("encoded", ENCODED);
  },
  cases: {
    "an answer arrives in its encoding, once": async (platform) => {
      for (const [path, length] of [
        ["named", 6_000],
        ["packed", 7_000],
        ["streamed", 5_000],
      ] as const) {
        const answer = await platform.call(`encoded/${path}`, {
          headers: { "accept-encoding": "gzip" },
        });
        expect([path, answer.status, answer.headers["content-encoding"]]).toEqual([
          path,
          200,
          "gzip",
        ]);
        expect([path, gunzipSync(answer.bytes).length]).toEqual([path, length]);
      }
    },

    "a compressed request reaches the function untouched": async (platform) => {
      const body = gzipSync("hello");
      const answer = await platform.call("encoded", {
        body,
        headers: { "content-encoding": "gzip", "content-type": "text/plain" },
      });
      expect(answer.json).toEqual({ first: [0x1f, 0x8b], length: body.length, encoding: "gzip" });
    },
  },
};

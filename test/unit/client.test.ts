import {
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
  createServer,
} from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { nodeFetch } from "../../runtime/cli/internal.ts";
import { IsolaClient, followEvents, readEvents } from "../../runtime/client/index.ts";
import { IsolaError, type LogLine } from "../../runtime/contract/index.ts";

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resume) => server.listen(0, "127.0.0.1", resume));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function failureOf(work: Promise<unknown>): Promise<IsolaError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof IsolaError) return error;
  throw new Error("no error of the catalogue", { cause: error });
}

async function collected<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const each of source) all.push(each);
  return all;
}

const line = (text: string): LogLine => ({
  callId: "c",
  namespace: "default",
  function: "f",
  version: 1,
  atMs: 0,
  level: "info",
  text,
});

describe("a request of the client", () => {
  it("carries token, namespace and modules", async () => {
    let seen: Record<string, unknown> = {};
    const answer = async (request: IncomingMessage, response: ServerResponse) => {
      const type = request.headers["content-type"] ?? "";
      const body = await bodyOf(request);
      const form = await new Response(body, { headers: { "content-type": type } }).formData();
      const parts = [...form].map(([name, part]) =>
        typeof part === "string" ? [name, part] : [name, part.name, part.type, part.size],
      );
      const metadata: unknown = JSON.parse(await (form.get("metadata") as File).text());
      seen = { url: request.url, token: request.headers.authorization, parts, metadata };
      response.setHeader("content-type", "application/json").end('{"version":1}');
    };
    const url = await serve((request, response) => void answer(request, response));
    const client = new IsolaClient({ url, token: "t", namespace: "team", fetch: nodeFetch });
    const wasm = Buffer.from([0, 97]).toString("base64");
    await client.deploy(
      "f",
      { main: "f.js", traffic: 10 },
      [
        { name: "f.js", kind: "js", content: "export default 1" },
        { name: "a.wasm", kind: "wasm", content: wasm },
      ],
      { dryRun: true },
    );
    expect(seen).toEqual({
      url: "/v1/namespaces/team/functions/f?dryRun=1",
      token: "Bearer t",
      parts: [
        ["metadata", "blob", "application/json", 28],
        ["f.js", "f.js", "application/javascript+module", 16],
        ["a.wasm", "a.wasm", "application/wasm", 2],
      ],
      metadata: { main: "f.js", traffic: 10 },
    });
  });

  it("finds a host below localhost on this machine, under its name", async () => {
    const url = await serve((request, response) => {
      response.end(JSON.stringify({ items: [request.headers.host] }));
    });
    const port = new URL(url).port;
    const client = new IsolaClient({ url: `http://admin.localhost:${port}/`, fetch: nodeFetch });
    expect(await client.list()).toEqual([`admin.localhost:${port}`]);
    expect(await client.publicUrl()).toBe(`http://localhost:${port}`);
  });

  it.each([
    [
      "as data",
      { error: { code: "CONFLICT", message: "m", parts: { attempted: "a", found: "b" } } },
      { attempted: "a", found: "b" },
    ],
    [
      "with its parts",
      { error: { code: "CONFLICT", message: "m", attempted: "a", found: "b", required: "c" } },
      { attempted: "a", found: "b", required: "c" },
    ],
    [
      "with a message alone",
      { error: { code: "CONFLICT", message: "m" } },
      { attempted: "list functions", found: "m" },
    ],
  ])("fails with the server's error, %s", async (_form, body, parts) => {
    const url = await serve((_request, response) => {
      response.writeHead(409, { "content-type": "application/json" }).end(JSON.stringify(body));
    });
    const error = await failureOf(new IsolaClient({ url, fetch: nodeFetch }).list());
    expect(error.code).toBe("CONFLICT");
    expect(error.parts).toEqual(parts);
  });

  it("fails as unreachable where nobody, or somebody else, answers", async () => {
    const other = await serve((_request, response) => response.writeHead(404).end("<html>"));
    for (const url of ["http://127.0.0.1:1", other]) {
      for (const fetch of [nodeFetch, globalThis.fetch]) {
        const error = await failureOf(new IsolaClient({ url, fetch }).list());
        expect(error.code).toBe("UNREACHABLE");
        expect(error.parts.found).toContain(url);
      }
    }
  });
});

describe("Node's transport", () => {
  it("streams both ways and ends when the caller aborts", async () => {
    const url = await serve((request, response) => void request.pipe(response));
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("first"));
      },
    });
    const controller = new AbortController();
    const { signal } = controller;
    const response = await nodeFetch(url, { method: "POST", body, signal });
    const reader = response.body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe("first");
    controller.abort();
    await expect(reader?.read()).rejects.toThrow("aborted");
  });

  it("says how long a body is that it holds", async () => {
    const url = await serve((request, response) => {
      response.end(request.headers["content-length"]);
    });
    const response = await nodeFetch(url, { method: "POST", body: "four" });
    expect(await response.text()).toBe("4");
  });
});

describe("a followed stream", () => {
  it("goes on after the last event when the connection breaks, and yields each once", async () => {
    const asked: (string | undefined)[] = [];
    const url = await serve((request, response) => {
      const last = request.headers["last-event-id"];
      asked.push(last as string | undefined);
      response.writeHead(200, { "content-type": "text/event-stream" });
      const next = Number(last ?? 0) + 1;
      response.write(`: kept open\n\nid: ${String(next)}\ndata: ${JSON.stringify(line("a"))}\n\n`);
      response.write("id: 99\ndata: {unfin");
      setTimeout(() => response.destroy(), 10);
    });
    const controller = new AbortController();
    const client = new IsolaClient({ url, fetch: nodeFetch, sleep: async () => undefined });
    let count = 0;
    for await (const each of client.followLogs({ function: "f", signal: controller.signal })) {
      expect(each.text).toBe("a");
      count += 1;
      if (count === 3) controller.abort();
    }
    expect(count).toBe(3);
    expect(asked).toEqual([undefined, "1", "2"]);
  });

  it("waits longer and longer while nobody answers", async () => {
    const waits: number[] = [];
    const controller = new AbortController();
    const events = followEvents({
      open: () =>
        Promise.reject(new IsolaError("UNREACHABLE", { attempted: "read logs", found: "nobody" })),
      sleep: async (delayMs) => {
        waits.push(delayMs);
        if (waits.length === 8) controller.abort();
        await Promise.resolve();
      },
      signal: controller.signal,
    });
    expect(await collected(events)).toEqual([]);
    expect(waits).toEqual([100, 200, 400, 800, 1600, 3200, 5000, 5000]);
  });

  it("ends when the server refuses", async () => {
    const url = await serve((_request, response) => {
      response.writeHead(401).end('{"error":{"code":"TOKEN_INVALID","message":"no"}}');
    });
    const client = new IsolaClient({ url, fetch: nodeFetch });
    const error = await failureOf(collected(client.followLogs()));
    expect(error.code).toBe("TOKEN_INVALID");
  });

  it("reads events however they are cut", async () => {
    const text = "id: 1\r\nevent: a\r\ndata: ü\r\ndata: b\r\n\r\n:c\n\ndata:d\n\n";
    const bytes = new TextEncoder().encode(text);
    for (const size of [1, 2, 7, bytes.length]) {
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          for (let at = 0; at < bytes.length; at += size) {
            controller.enqueue(bytes.slice(at, at + size));
          }
          controller.close();
        },
      });
      expect(await collected(readEvents(new Response(body)))).toEqual([
        { id: "1", event: "a", data: "ü\nb" },
        { id: "", event: "message", data: "d" },
      ]);
    }
  });
});

/**
 * `fetch` over `node:http`. Node's own refuses to name a host that the resolver does not know
 * (`admin.localhost`), and gives up on calls that take longer than five minutes.
 */
import { Agent, type IncomingMessage, type RequestOptions, request as openHttp } from "node:http";
import { request as openHttps } from "node:https";
import type { LookupFunction } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const BODILESS = new Set([101, 204, 205, 304]);

/** Every name under `localhost` is this machine (RFC 6761), whatever the resolver says. */
function isLoopbackName(hostname: string): boolean {
  return hostname === "localhost" || hostname.endsWith(".localhost");
}

const lookupLoopback: LookupFunction = (_hostname, options, callback) => {
  if (options.all === true) callback(null, [{ address: "127.0.0.1", family: 4 }]);
  else callback(null, "127.0.0.1", 4);
};

const agent = new Agent({ keepAlive: true });

export async function nodeFetch(url: string, init: RequestInit = {}): Promise<Response> {
  const request = new Request(url, { ...init, duplex: "half" });
  const target = new URL(url);
  const isSecure = target.protocol === "https:";
  const options: RequestOptions = {
    method: request.method,
    headers: Object.fromEntries(request.headers),
    ...(isSecure ? {} : { agent }),
    ...(isLoopbackName(target.hostname) ? { lookup: lookupLoopback } : {}),
    ...(init.signal ? { signal: init.signal } : {}),
  };
  const isStream = init.body instanceof ReadableStream;
  const held = isStream ? undefined : Buffer.from(await request.arrayBuffer());
  return new Promise((resolve, reject) => {
    const outgoing = (isSecure ? openHttps : openHttp)(target, options, (incoming) => {
      resolve(toResponse(incoming));
    });
    outgoing.on("error", reject);
    if (isStream && request.body !== null) {
      // A server may answer before it has read all: the answer counts, not the broken upload.
      pipeline(Readable.fromWeb(request.body), outgoing).catch(() => undefined);
    } else {
      outgoing.end(held);
    }
  });
}

function toResponse(incoming: IncomingMessage): Response {
  const headers = new Headers();
  for (let index = 0; index + 1 < incoming.rawHeaders.length; index += 2) {
    headers.append(incoming.rawHeaders[index] ?? "", incoming.rawHeaders[index + 1] ?? "");
  }
  const status = incoming.statusCode ?? 500;
  if (BODILESS.has(status)) {
    incoming.resume();
    return new Response(null, { status, headers });
  }
  const body = Readable.toWeb(incoming) as unknown as ReadableStream;
  return new Response(body, { status, headers, statusText: incoming.statusMessage ?? "" });
}

/** `host.sock`: what the gateway asks of the host (contract/control.ts HOST_CONTROL). */
import { rmSync } from "node:fs";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import {
  type CellsReport,
  HOST_CONTROL,
  IsolaError,
  isLabel,
  toIsolaError,
} from "../contract/index.ts";

export interface HostServices {
  cells(): CellsReport;
  /** Errors: NOT_FOUND. */
  restartCell(slot: number): Promise<void>;
  /** Errors: CAPACITY. */
  dedicate(namespace: string, cells: number): Promise<CellsReport>;
  /** Errors: NOT_FOUND, DISK_FULL. */
  keepBundle(hash: string): Promise<void>;
}

const BODY_MAX_BYTES = 64 * 1_024;
const BUNDLE_HASH = /^[0-9a-f]{64}$/;

/** Sockets made under this mask are open to the directory's group. */
const SOCKET_UMASK = 0o007;

export async function serveHost(socketPath: string, services: HostServices): Promise<Server> {
  rmSync(socketPath, { force: true });
  const server = createServer((request, response) => void answer(request, response, services));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    const before = process.umask(SOCKET_UMASK);
    try {
      server.listen(socketPath, resolve);
    } finally {
      process.umask(before);
    }
  });
  return server;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  services: HostServices,
): Promise<void> {
  const send = (status: number, body?: unknown): void => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(body === undefined ? undefined : JSON.stringify(body));
  };
  try {
    const body = await perform(request, services);
    send(body === undefined ? 204 : 200, body);
  } catch (error) {
    const known = toIsolaError(error, `answer ${request.url ?? ""}`);
    send(known.status, known.toData());
  }
}

async function perform(request: IncomingMessage, services: HostServices): Promise<unknown> {
  const { method = "GET", url = "/" } = request;
  if (method === "GET" && url === HOST_CONTROL.cells) return services.cells();
  if (method === "POST" && url === HOST_CONTROL.restart) {
    const { slot } = await readFields(request);
    if (typeof slot !== "number") throw malformed("slot", slot, "the number of a cell");
    await services.restartCell(slot);
    return undefined;
  }
  if (method === "POST" && url === HOST_CONTROL.dedicate) {
    const { namespace, cells } = await readFields(request);
    if (typeof namespace !== "string" || !isLabel(namespace)) {
      throw malformed("namespace", namespace, "a DNS label");
    }
    if (!Number.isInteger(cells) || Number(cells) < 0) {
      throw malformed("cells", cells, "a number of cells, 0 or more");
    }
    return services.dedicate(namespace, Number(cells));
  }
  if (method === "POST" && url === HOST_CONTROL.keep) {
    const { hash } = await readFields(request);
    // The gateway's word, too, names a bundle and no other file.
    if (typeof hash !== "string" || !BUNDLE_HASH.test(hash)) {
      throw malformed("hash", hash, "64 hexadecimal digits");
    }
    await services.keepBundle(hash);
    return undefined;
  }
  throw new IsolaError("ROUTE_NOT_FOUND", {
    attempted: `${method} ${url} at the host`,
    found: "no such route",
    required: Object.values(HOST_CONTROL).join(", "),
  });
}

function malformed(field: string, found: unknown, required: string): IsolaError {
  const parts = { attempted: `read ${field}`, found: JSON.stringify(found) ?? "nothing", required };
  return new IsolaError("REQUEST_INVALID", parts);
}

async function readFields(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_MAX_BYTES) throw malformed("the body", bytes, `${BODY_MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  try {
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    throw malformed("the body", "no JSON", "a JSON object");
  }
}

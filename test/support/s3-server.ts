/**
 * A real S3 server of a test's own (s3rver, which keeps objects in files and checks signatures),
 * behind a proxy that misbehaves when it is told to.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import { request as sendRequest } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PROGRAM = join(import.meta.dirname, "s3-server-program.ts");

export const BUCKET = "cold";
/** s3rver knows one user. */
export const CREDENTIALS = {
  accessKeyId: "S3RVER",
  secretAccessKey: "S3RVER",
  sessionToken: "",
} as const;

/** How the proxy treats a request instead of passing it on. */
export type Fault =
  | { readonly kind: "status"; readonly status: number; readonly retryAfter?: string }
  /** What another server would say. */
  | { readonly kind: "answer"; readonly body: string }
  /** The connection ends before any answer; `after` the server did what it was asked to. */
  | { readonly kind: "cut"; readonly when: "before" | "after" }
  /** Half of the answer's body, then the connection ends. */
  | { readonly kind: "half" }
  /** No answer at all. */
  | { readonly kind: "silence" }
  /** The answer's body comes this much later. */
  | { readonly kind: "slow"; readonly delayMs: number };

export type FaultRule = (request: IncomingMessage) => Fault | undefined;

export interface S3Server {
  /** Of the proxy; what is configured as endpoint. */
  readonly url: string;
  readonly port: number;
  /** Requests so far: method, path and query. */
  readonly requests: readonly string[];
  /** Decides about each request; undefined: everything goes through. */
  fault: FaultRule | undefined;
  /** Keys in the bucket, sorted. */
  keys(): string[];
  clearRequests(): void;
  /** Forgets requests and objects. */
  clear(): void;
  /** Refuses connections from now on. */
  goDown(): Promise<void>;
  comeBack(): Promise<void>;
  stop(): Promise<void>;
}

export async function startS3Server(): Promise<S3Server> {
  const folder = mkdtempSync(join(tmpdir(), "isola-s3-"));
  const child = spawn(
    process.execPath,
    ["--openssl-legacy-provider", "--no-warnings", PROGRAM, folder, BUCKET],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const ended = once(child, "exit");
  const [line] = (await Promise.race([
    once(child.stdout.setEncoding("utf8"), "data"),
    ended.then(() => ["no port"]),
  ])) as [string];
  const innerPort = Number(line);
  const requests: string[] = [];
  const state: { fault: FaultRule | undefined; proxy: Server } = {
    fault: undefined,
    proxy: createServer(),
  };
  const open = async (port: number): Promise<number> => {
    state.proxy = createServer((request, response) => {
      requests.push(`${request.method ?? ""} ${request.url ?? ""}`);
      pass({ request, response, port: innerPort, fault: state.fault?.(request) });
    });
    await new Promise<void>((resolve) => state.proxy.listen(port, "127.0.0.1", resolve));
    return (state.proxy.address() as AddressInfo).port;
  };
  const shut = async (): Promise<void> => {
    const closed = new Promise((resolve) => state.proxy.close(resolve));
    state.proxy.closeAllConnections();
    await closed;
  };
  const port = await open(0);
  return {
    url: `http://127.0.0.1:${String(port)}`,
    port,
    requests,
    get fault() {
      return state.fault;
    },
    set fault(rule) {
      state.fault = rule;
    },
    keys: () => keysIn(join(folder, BUCKET)),
    clearRequests: () => void requests.splice(0),
    clear: () => {
      requests.splice(0);
      rmSync(join(folder, BUCKET), { recursive: true, force: true });
      mkdirSync(join(folder, BUCKET));
    },
    goDown: shut,
    comeBack: async () => void (await open(port)),
    stop: async () => {
      await shut();
      child.kill("SIGKILL");
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** s3rver keeps an object as a file beside its metadata. */
function keysIn(folder: string): string[] {
  const suffix = "._S3rver_object";
  return readdirSync(folder, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith(suffix) && !name.includes("._S3rver_uploads"))
    .map((name) => name.slice(0, -suffix.length))
    .sort();
}

interface Passing {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly port: number;
  readonly fault: Fault | undefined;
}

function pass({ request, response, port, fault }: Passing): void {
  const socket: Socket = request.socket;
  if (fault?.kind === "silence") {
    request.resume();
    return;
  }
  if (fault?.kind === "cut" && fault.when === "before") {
    socket.destroy();
    return;
  }
  if (fault?.kind === "answer") {
    request.resume();
    response.writeHead(200).end(fault.body);
    return;
  }
  if (fault?.kind === "status") {
    request.resume();
    const headers = fault.retryAfter === undefined ? {} : { "retry-after": fault.retryAfter };
    response.writeHead(fault.status, headers);
    response.end("<Error><Code>SlowDown</Code></Error>");
    return;
  }
  const { method, url, headers } = request;
  const onward = sendRequest({ port, host: "127.0.0.1", method, path: url, headers }, (answer) => {
    const chunks: Buffer[] = [];
    answer.on("data", (chunk: Buffer) => chunks.push(chunk));
    answer.on("end", () => {
      const body = Buffer.concat(chunks);
      if (fault?.kind === "cut") {
        socket.destroy();
        return;
      }
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      if (fault?.kind === "half") {
        response.write(body.subarray(0, Math.floor(body.length / 2)), () => socket.destroy());
        return;
      }
      if (fault?.kind === "slow") {
        response.flushHeaders();
        setTimeout(() => response.end(body), fault.delayMs);
        return;
      }
      response.end(body);
    });
  });
  onward.on("error", () => socket.destroy());
  request.pipe(onward);
}

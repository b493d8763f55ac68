/** The source of the film pipeline: a file over HTTP that can be read from any byte on. */
import { once } from "node:events";
import { createReadStream, readFileSync, statSync } from "node:fs";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface Source {
  readonly url: string;
  /** From which bytes on it was read, in order. */
  readonly reads: readonly number[];
  readonly close: () => void;
}

/** @param onRead told of each read before it is answered. */
export async function serveSource(
  file: string,
  onRead: (count: number) => void = () => {},
): Promise<Source> {
  const { size } = statSync(file);
  const etag = `"${createHash("sha256").update(readFileSync(file)).digest("hex").slice(0, 32)}"`;
  const reads: number[] = [];
  const server = createServer((request, response) => {
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    reads.push(start);
    onRead(reads.length);
    response.writeHead(start === 0 ? 200 : 206, {
      etag,
      "content-type": "application/json",
      "content-range": `bytes ${String(start)}-${String(size - 1)}/${String(size)}`,
    });
    const stream = createReadStream(file, { start });
    response.once("close", () => stream.destroy());
    stream.pipe(response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${String(port)}/`,
    reads,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

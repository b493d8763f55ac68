/** What the gateway may ask of the host, over a socket of the test's own. */
import { writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { HOST_CONTROL } from "../../runtime/contract/index.ts";
import { serveHost, syncFile } from "../../runtime/host/internal.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const HASH = "0123456789abcdef".repeat(4);

async function keeper(): Promise<(body: string) => Promise<{ status: number; text: string }>> {
  const folder = temporaryFolder();
  const socketPath = join(folder, "host.sock");
  writeFileSync(join(folder, HASH), "a bundle");
  const server = await serveHost(socketPath, {
    cells: () => ({ cells: [] }),
    restartCell: () => Promise.resolve(),
    dedicate: () => Promise.resolve({ cells: [] }),
    keepBundle: (hash) => syncFile(join(folder, hash)),
  });
  onTestFinished(() => void server.close());
  return (body) =>
    new Promise((resolve, reject) => {
      const options = { socketPath, path: HOST_CONTROL.keep, method: "POST", agent: false };
      const sent = request(options, (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      });
      sent.on("error", reject);
      sent.end(body);
    });
}

describe("a bundle that the gateway has written", () => {
  it("is put on disk", async () => {
    const keep = await keeper();
    expect(await keep(JSON.stringify({ hash: HASH }))).toEqual({ status: 204, text: "" });
  });

  it("that is not there is said to be missing", async () => {
    const keep = await keeper();
    const answer = await keep(JSON.stringify({ hash: HASH.replaceAll("0", "f") }));
    expect(answer.status).toBe(404);
    expect(answer.text).toContain("NOT_FOUND");
  });

  it("is named by its hash, and nothing else on the machine is", async () => {
    const keep = await keeper();
    const names = ["", "..", "host.sock", `../${HASH}`, `${HASH}/`, HASH.toUpperCase(), 7, null];
    for (const hash of names) {
      expect((await keep(JSON.stringify({ hash }))).status, String(hash)).toBe(400);
    }
    expect((await keep("{")).status).toBe(400);
  });
});

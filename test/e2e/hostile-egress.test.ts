/** Ways out of a function: what leads to this machine or its network stays closed (G6). */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { hostname } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type TestPlatform, usePlatform } from "../support/platform.ts";

/** Fetches each URL; an answer, or the error's code or text. */
const FETCH_ALL = `export default async ({ urls, headers }) => {
  const found = {};
  for (const url of urls) {
    try {
      const response = await fetch(url, { headers });
      found[url] = ["REACHED", response.status, await response.text()];
    } catch (error) { found[url] = error.code ?? String(error.message); }
  }
  return found;
};`;

let server: Server;
let port = 0;
let requests = 0;

beforeAll(async () => {
  server = createServer((request, response) => {
    requests += 1;
    if (request.url === "/redirect") {
      response.writeHead(302, { location: `http://127.0.0.2:${String(port)}/private` });
      response.end();
      return;
    }
    response.setHeader("x-isola-error", "CELL_LOST");
    response.end(JSON.stringify({ reached: request.url, headers: request.headers }));
  });
  await new Promise<void>((go) => server.listen(0, "0.0.0.0", go));
  ({ port } = server.address() as AddressInfo);
});
afterAll(() => void server.close());

async function fetchAll(
  platform: TestPlatform,
  name: string,
  urls: readonly string[],
  headers: Readonly<Record<string, string>> = {},
): Promise<Record<string, unknown>> {
  const answer = await platform.call(name, { json: { urls, headers } });
  expect(answer.status, answer.text).toBe(200);
  return answer.json as Record<string, unknown>;
}

describe("a function with egress to the public Internet", () => {
  const platform = usePlatform({ cells: 1 });
  beforeAll(async () => {
    await platform().deploy("out", FETCH_ALL);
  }, 30_000);

  it("reaches no address of this machine or its networks, in any spelling", async () => {
    const spelled = [
      "127.0.0.1",
      "127.1",
      "127.255.255.254",
      "2130706433",
      "0x7f000001",
      "0x7f.1",
      "0177.0.0.1",
      "0",
      "0.0.0.0",
      "１２７.0.0.1",
      "127。0。0。1",
      "[::1]",
      "[::]",
      "[0:0:0:0:0:0:0:1]",
      "[::ffff:127.0.0.1]",
      "[::ffff:7f00:1]",
      "[::127.0.0.1]",
      "[64:ff9b::127.0.0.1]",
      "[2002:7f00:1::]",
      "[fe80::1]",
      "[fd00::1]",
      "10.0.0.1",
      "172.16.0.1",
      "192.168.0.1",
      "100.64.0.1",
      "169.254.169.254",
      "[fd00:ec2::254]",
      "[::ffff:169.254.169.254]",
      "localhost",
      "localhost.",
      "LOCALHOST",
      "a.localhost",
      "user@127.0.0.1",
      "example.com@127.0.0.1",
    ];
    const urls = spelled.map((host) => `http://${host}:${String(port)}/`);
    const before = requests;
    const found = await fetchAll(platform(), "out", urls);
    const open = Object.entries(found).filter(([, outcome]) => outcome !== "EGRESS_DENIED");
    expect(open).toEqual([]);
    expect(requests).toBe(before);
  });

  it("reaches nothing by a name that means this machine, a socket, a file", async () => {
    const before = requests;
    const found = await fetchAll(platform(), "out", [
      `http://${hostname()}:${String(port)}/`,
      "http://supply/routing",
      "http://egress/",
      "http://cell/ping",
      "http://gateway-control/ready",
      "ftp://127.0.0.1/",
      "file:///etc/passwd",
      `unix:${platform().dataDir}/run/host/host.sock`,
      `${platform().client.url}/v1/status`,
      `${platform().publicUrl}/healthz`,
    ]);
    expect(JSON.stringify(found)).not.toContain("REACHED");
    expect(requests).toBe(before);
  });

  it("cannot change its policy by headers", async () => {
    const url = `http://127.0.0.1:${String(port)}/`;
    const found = await fetchAll(platform(), "out", [url], {
      "x-isola-target": url,
      "x-isola-egress": '["127.0.0.1"]',
      host: "example.com",
    });
    expect(found[url]).toBe("EGRESS_DENIED");
  });

  it("has no other way: no TCP, no Node socket, no web socket", async () => {
    const code = `import { connect } from "cloudflare:sockets";
      import http from "node:http";
      import net from "node:net";
      const within = (run) => Promise.race([
        new Promise(run),
        scheduler.wait(2_000).then(() => "nothing"),
      ]).catch((error) => "failed: " + error.message);
      export default async ({ port }) => ({
        tcp: await within(async (resolve, reject) => {
          try {
            const socket = connect({ hostname: "127.0.0.1", port });
            const writer = socket.writable.getWriter();
            await writer.write(new TextEncoder().encode("GET / HTTP/1.0\\r\\n\\r\\n"));
            const { value } = await socket.readable.getReader().read();
            resolve(value ? "REACHED" : "nothing");
          } catch (error) { reject(error); }
        }),
        net: await within((resolve, reject) => {
          const socket = net.connect(port, "127.0.0.1");
          socket.on("connect", () => resolve("REACHED")).on("error", reject);
        }),
        http: await within((resolve, reject) => {
          http.get("http://127.0.0.1:" + port, () => resolve("REACHED")).on("error", reject);
        }),
        webSocket: await within((resolve, reject) => {
          const socket = new WebSocket("ws://127.0.0.1:" + port);
          socket.addEventListener("open", () => resolve("REACHED"));
          socket.addEventListener("error", () => resolve("failed: error event"));
        }),
      });`;
    await platform().deploy("sockets", code, { compatibilityFlags: ["nodejs_compat"] });
    const before = requests;
    const answer = await platform().call("sockets", { json: { port } });
    expect(answer.status, answer.text).toBe(200);
    expect(answer.text).not.toContain("REACHED");
    expect(requests).toBe(before);
  });

  it("has no way at all with egress none, and the listed ones with a list", async () => {
    await platform().deploy("none", FETCH_ALL, { egress: "none" });
    await platform().deploy("list", FETCH_ALL, { egress: ["example.com", "*.example.org:8443"] });
    const closed = await fetchAll(platform(), "none", ["http://example.com/"]);
    expect(closed["http://example.com/"]).not.toContain("REACHED");
    const found = await fetchAll(platform(), "list", [
      "http://example.net/",
      "http://example.com.example.net/",
      "http://notexample.com/",
      "http://example.org:8443/",
      "http://a.example.org/",
      `http://127.0.0.1:${String(port)}/`,
    ]);
    expect(new Set(Object.values(found))).toEqual(new Set(["EGRESS_DENIED"]));
    // On the list, but not reachable from where tests run: refused by nobody.
    const listed = await fetchAll(platform(), "list", ["http://example.com/"]);
    expect(listed["http://example.com/"]).not.toBe("EGRESS_DENIED");
  }, 30_000);
});

describe("an address that the operator allows", () => {
  const platform = usePlatform({ cells: 1, allowPrivate: ["127.0.0.1/32"] });

  it("is open, and nothing beside it, nor behind its redirects", async () => {
    await platform().deploy("out", FETCH_ALL);
    const base = `http://127.0.0.1:${String(port)}`;
    const beside = ["127.0.0.2", "[::1]", "10.0.0.1", "169.254.169.254"].map(
      (host) => `http://${host}:${String(port)}/`,
    );
    const found = await fetchAll(
      platform(),
      "out",
      [`${base}/open`, `${base}/redirect`, ...beside],
      { "x-isola-call": "forged", "x-own": "kept" },
    );
    const { [`${base}/open`]: open, ...closed } = found;
    expect(open).toEqual(["REACHED", 200, expect.stringContaining('"reached":"/open"')]);
    expect(JSON.stringify(open)).not.toContain("x-isola");
    expect(JSON.stringify(open)).toContain("x-own");
    expect(new Set(Object.values(closed))).toEqual(new Set(["EGRESS_DENIED"]));
  });

  it("is closed to functions whose list does not name it, or that have no egress", async () => {
    const url = `http://127.0.0.1:${String(port)}/`;
    await platform().deploy("listed", FETCH_ALL, { egress: [`127.0.0.1:${String(port)}`] });
    await platform().deploy("unlisted", FETCH_ALL, { egress: ["127.0.0.1:1"] });
    await platform().deploy("none", FETCH_ALL, { egress: "none" });
    expect((await fetchAll(platform(), "listed", [url]))[url]).toContain("REACHED");
    expect((await fetchAll(platform(), "unlisted", [url]))[url]).toBe("EGRESS_DENIED");
    expect((await fetchAll(platform(), "none", [url]))[url]).not.toContain("REACHED");
    const admin = `${platform().client.url}/healthz`;
    expect((await fetchAll(platform(), "listed", [admin]))[admin]).toBe("EGRESS_DENIED");
  });
});

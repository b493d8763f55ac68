/** The egress worker in a real workerd, behind a network like the host's configuration gives it. */
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningWorkerd, startWorkerd } from "../support/workerd.ts";

const network = (name: string, allow: string): string =>
  `(name = "${name}", network = (allow = [${allow}], tlsOptions = (trustBrowserCas = true)))`;

const start = (allowPrivate: readonly string[]): Promise<RunningWorkerd> =>
  startWorkerd({
    entry: "runtime/gateway/egress.worker.ts",
    services: network("internet", ["public", ...allowPrivate].map((a) => `"${a}"`).join(", ")),
    bindings:
      `(name = "INTERNET", service = "internet"), ` +
      `(name = "ALLOW_PRIVATE", json = "${JSON.stringify(allowPrivate).replaceAll('"', '\\"')}")`,
  });

let closed: RunningWorkerd;
let open: RunningWorkerd;
let upstream: Server;
let port = 0;
let reached: string[] = [];
let seen: Record<string, unknown> = {};

beforeAll(async () => {
  upstream = createServer((request, response) => {
    reached.push(request.url ?? "");
    seen = request.headers;
    if (request.url === "/redirect") {
      response.writeHead(302, { location: "http://169.254.169.254/" }).end();
      return;
    }
    if (request.url === "/headers") {
      response.writeHead(200, {
        "x-isola-error": "CELL_LOST",
        "x-isola-reply": "{}",
        "keep-alive": "timeout=5",
        "set-cookie": ["a=1", "b=2"],
        "x-own": "yes",
      });
      response.end("body");
      return;
    }
    // Echo: each chunk goes back as it comes.
    response.writeHead(200);
    request.pipe(response);
  });
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  port = (upstream.address() as AddressInfo).port;
  [closed, open] = await Promise.all([start([]), start(["127.0.0.0/8"])]);
});

afterAll(async () => {
  await Promise.all([closed.stop(), open.stop()]);
  upstream.closeAllConnections();
  upstream.close();
});

function call(
  egress: RunningWorkerd,
  target: string,
  policy: unknown = "public",
  init: RequestInit = {},
): Promise<Response> {
  const headers = { "x-isola-target": target, "x-isola-egress": JSON.stringify(policy) };
  return fetch(`${egress.url}/`, {
    ...init,
    redirect: "manual",
    headers: { ...headers, ...(init.headers as Record<string, string>) },
  });
}

const errorOf = async (response: Response): Promise<string> =>
  ((await response.json()) as { code: string }).code;

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

describe("the way out of a cell", () => {
  it.each([
    "http://127.0.0.1:PORT/",
    "http://127.1:PORT/",
    "http://2130706433:PORT/",
    "http://0x7f000001:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://0.0.0.0:PORT/",
    "http://localhost:PORT/",
    "http://a.localhost:PORT/",
    "http://[::1]:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::]:PORT/",
    "http://[fc00::1]:PORT/",
    "http://169.254.169.254/",
    "http://10.0.0.1/",
    "file:///etc/passwd",
  ])("does not lead to %s", async (template) => {
    reached = [];
    const response = await call(closed, template.replace("PORT", String(port)));
    expect(response.status).toBe(502);
    expect(response.headers.get("x-isola-error")).toBe("EGRESS_DENIED");
    expect(await errorOf(response)).toBe("EGRESS_DENIED");
    expect(reached).toEqual([]);
  });

  it("is closed after resolution too, for a name that means this machine", async () => {
    // What the policy cannot see: a public name with a private address. The network service
    // decides after it resolved the name, so a second, other answer of the DNS changes nothing.
    reached = [];
    const { hostname } = await import("node:os");
    const response = await call(closed, `http://${hostname()}:${port}/`);
    expect(response.status).toBe(502);
    expect(["EGRESS_DENIED", "UPSTREAM_FAILED"]).toContain(await errorOf(response));
    expect(reached).toEqual([]);
  });

  it("hands redirects back instead of following them", async () => {
    const response = await call(open, `http://127.0.0.1:${port}/redirect`);
    expect(response.status).toBe(302);
    const next = response.headers.get("location") ?? "";
    expect(await errorOf(await call(open, next))).toBe("EGRESS_DENIED");
  });

  it("leads where the operator allows", async () => {
    const response = await call(open, `http://127.0.0.1:${port}/x?y=1`, "public", {
      method: "POST",
      body: "hello",
    });
    expect(await response.text()).toBe("hello");
    expect(reached.at(-1)).toBe("/x?y=1");
  });

  it("obeys an allow-list", async () => {
    const target = `http://127.0.0.1:${port}/`;
    expect((await call(open, target, [`127.0.0.1:${port}`])).status).toBe(200);
    expect(await errorOf(await call(open, target, ["example.com"]))).toBe("EGRESS_DENIED");
    expect(await errorOf(await call(open, target, ["127.0.0.1:1"]))).toBe("EGRESS_DENIED");
    expect(await errorOf(await call(open, target, "none"))).toBe("EGRESS_DENIED");
  });

  it("keeps headers of the platform and of the connection to itself, both ways", async () => {
    const response = await call(open, `http://127.0.0.1:${port}/headers`, "public", {
      headers: { "x-isola-secret": "1", "x-own": "1" },
    });
    expect(await response.text()).toBe("body");
    expect(Object.keys(seen).filter((name) => name.startsWith("x-isola"))).toEqual([]);
    expect(seen).toMatchObject({ "x-own": "1", host: `127.0.0.1:${port}` });
    expect([...response.headers.keys()].filter((name) => name.startsWith("x-isola"))).toEqual([]);
    expect(response.headers.get("x-own")).toBe("yes");
    expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
  });

  it("streams both ways", async () => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    const init = { method: "POST", body: readable, duplex: "half" } as RequestInit;
    void writer.write(encode("first"));
    const response = await call(open, `http://127.0.0.1:${port}/`, "public", init);
    const reader = response.body?.getReader();
    const text = async (): Promise<string> =>
      new TextDecoder().decode((await reader?.read())?.value);
    expect(await text()).toBe("first");
    void writer.write(encode("second"));
    expect(await text()).toBe("second");
    await writer.close();
    expect((await reader?.read())?.done).toBe(true);
  });

  it("says when the other side cannot be reached", async () => {
    const response = await call(open, "http://127.0.0.1:1/");
    expect(response.headers.get("x-isola-error")).toBe("UPSTREAM_FAILED");
    expect(await errorOf(await call(open, "http://nowhere.invalid/"))).toBe("UPSTREAM_FAILED");
  });

  it("refuses requests that carry no policy or no target", async () => {
    for (const headers of [{}, { "x-isola-target": "http://a.net" }, { "x-isola-egress": "1" }]) {
      const response = await fetch(`${open.url}/`, { headers });
      expect(response.status).toBe(400);
    }
  });
});

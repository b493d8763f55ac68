/** What the platform adds to a call, takes from it and passes on (INTERFACE §2 and §5). */
import { expect } from "vitest";
import type { CaseGroup } from "./case.ts";

/** Shows the request as it came, and answers as it is told to. */
const MIRROR = `
  export default {
    async fetch(request, env) {
      const url = new URL(request.url);
      if (url.pathname === "/redirect") return Response.redirect("http://elsewhere.example/x", 307);
      if (url.pathname === "/status") {
        return new Response(null, { status: Number(url.searchParams.get("code")) });
      }
      if (url.pathname === "/headers") {
        const headers = new Headers({ "x-isola-backend": "forged", "x-isola-reply": "{}",
          "x-isola-shim": "{}", "x-call-id": "forged", "x-isola-error": "INTERNAL",
          "server-timing": "db;dur=3", "x-own": "ünïcode".normalize(), etag: '"1"' });
        headers.append("set-cookie", "a=1; Path=/");
        headers.append("set-cookie", "b=2");
        return new Response("body", { status: 206, statusText: "Own Words", headers });
      }
      if (url.pathname === "/large-answer") {
        return new Response("x", { headers: { "x-large": "y".repeat(6000) } });
      }
      return Response.json({
        url: request.url, method: request.method,
        headers: Object.fromEntries(request.headers),
        props: Object.keys(env.ISOLA), trace: env.ISOLA.trace, cf: request.cf ?? null,
        body: request.method === "GET" || request.method === "HEAD" ? null : await request.text(),
      });
    },
  };`;

const SOCKET = `
  export default {
    fetch(request) {
      if (request.headers.get("upgrade") !== "websocket") {
        return new Response("upgrade", { status: 426 });
      }
      const [client, server] = Object.values(new WebSocketPair());
      server.accept();
      server.addEventListener("message", ({ data }) => server.send("echo " + data));
      server.addEventListener("close", ({ code }) => server.close(code));
      server.send("hello " + request.headers.get("x-forwarded-prefix"));
      return new Response(null, { status: 101, webSocket: client });
    },
  };`;

interface Mirrored {
  readonly url: string;
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly trace: { traceId: string; spanId: string; traceparent: string };
  readonly body: string | null;
}

const routing: CaseGroup["cases"] = {
  "the root of a host name is the function's": async (platform) => {
    const port = new URL(platform.publicUrl).port;
    for (const [host, path, seen] of [
      [`mirror.default.localhost:${port}`, "/", "/"],
      [`mirror.default.localhost:${port}`, "/function/other?x=1", "/function/other?x=1"],
      [`mirror.default.localhost:${port}`, "/runs/0-5", "/runs/0-5"],
      [`mirror.default.localhost:${port}`, "/async-function/other", "/async-function/other"],
      [`MIRROR.Default.LOCALHOST:${port}`, "/a/b", "/a/b"],
      ["mirror.default.localhost", "/v1/status", "/v1/status"],
    ] as const) {
      const answer = await platform.http.call(path, { headers: { host } });
      const { url, headers } = answer.json as Mirrored;
      expect([host, new URL(url).pathname + new URL(url).search]).toEqual([host, seen]);
      expect(new URL(url).hostname).toBe("mirror.default.localhost");
      expect(headers["x-forwarded-prefix"]).toBeUndefined();
    }
    const missing = await platform.http.call("/", {
      headers: { host: `nothing.default.localhost:${port}` },
    });
    expect([missing.status, missing.code]).toEqual([404, "FUNCTION_NOT_FOUND"]);
  },

  "a name or path that means no function is a 404 or 400 of its own code": async (platform) => {
    for (const [path, status, code] of [
      ["/function/nothing", 404, "FUNCTION_NOT_FOUND"],
      ["/function/mirror.nothing", 404, "FUNCTION_NOT_FOUND"],
      ["/function/Mirror", 400, "NAME_INVALID"],
      ["/function/", 400, "NAME_INVALID"],
      ["/function/-a", 400, "NAME_INVALID"],
      ["/function/a.b.c", 400, "NAME_INVALID"],
      ["/function/%6Dirror", 400, "NAME_INVALID"],
      [`/function/${"a".repeat(64)}`, 400, "NAME_INVALID"],
      ["/function", 404, "ROUTE_NOT_FOUND"],
      ["/", 404, "ROUTE_NOT_FOUND"],
      ["/v1/status", 404, "ROUTE_NOT_FOUND"],
      ["/metrics", 404, "ROUTE_NOT_FOUND"],
    ] as const) {
      const answer = await platform.http.call(path);
      expect([path, answer.status, answer.code]).toEqual([path, status, code]);
      expect(answer.json).toMatchObject({ error: { code, retryable: false } });
    }
    expect((await platform.http.call("/healthz")).text).toBe("ok\n");
    expect((await platform.http.call("/readyz")).status).toBe(200);
  },

  "methods, paths and bodies arrive as they were sent": async (platform) => {
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
      const body = method === "GET" ? {} : { body: "bödy" };
      const answer = await platform.call("mirror/a%2Fb/;c=1/é".replace("é", "%C3%A9"), {
        method,
        ...body,
      });
      const { url, ...seen } = answer.json as Mirrored;
      expect(new URL(url).pathname).toBe("/a%2Fb/;c=1/%C3%A9");
      expect(seen).toMatchObject({ method, body: method === "GET" ? null : "bödy" });
    }
  },

  "HEAD is answered with headers alone": async (platform) => {
    const answer = await platform.call("mirror/headers", { method: "HEAD" });
    expect([answer.status, answer.bytes.length, answer.headers["x-own"]]).toEqual([
      206,
      0,
      expect.any(String) as string,
    ]);
    expect((await platform.call("mirror")).status).toBe(200);
  },

  "redirects and statuses are passed on, not followed": async (platform) => {
    const redirect = await platform.call("mirror/redirect");
    expect([redirect.status, redirect.headers.location]).toEqual([
      307,
      "http://elsewhere.example/x",
    ]);
    for (const code of [200, 204, 205, 304, 400, 404, 418, 500, 503, 599]) {
      const answer = await platform.call(`mirror/status?code=${String(code)}`);
      expect([answer.status, answer.code]).toEqual([code, undefined]);
      expect(answer.headers["x-call-id"]).toMatch(/^[0-9a-f]{32}$/);
    }
  },

  "large headers pass both ways": async (platform) => {
    const large = "z".repeat(6_000);
    const asked = await platform.call("mirror", { headers: { "x-large": large } });
    expect((asked.json as Mirrored).headers["x-large"]).toBe(large);
    const answer = await platform.call("mirror/large-answer");
    expect(answer.headers["x-large"]).toHaveLength(6_000);
  },

  "a WebSocket passes through": async (platform) => {
    await platform.deploy("socket", SOCKET);
    const refused = await platform.call("socket");
    expect([refused.status, refused.text]).toEqual([426, "upgrade"]);
    const socket = new WebSocket(`${platform.publicUrl.replace("http", "ws")}/function/socket/a`);
    const said: unknown[] = [];
    socket.addEventListener("message", ({ data }) => {
      said.push(data);
      if (said.length === 1) socket.send("ping");
      else socket.close(1000);
    });
    await new Promise((resolve) => socket.addEventListener("close", resolve));
    expect(said).toEqual(["hello /function/socket", "echo ping"]);
    await platform.idle();
  },
};

const headers: CaseGroup["cases"] = {
  "an answer says which call, version and backend it is of": async (platform) => {
    await platform.deploy("fresh", "export default () => 1;");
    const [cold, warm] = [await platform.call("fresh"), await platform.call("fresh")];
    expect([cold.headers["x-isola-cold"], warm.headers["x-isola-cold"]]).toEqual(["1", "0"]);
    for (const { headers: seen } of [cold, warm]) {
      expect(seen).toMatchObject({ "x-isola-version": "1", "x-isola-backend": "isolate" });
      expect(seen["x-call-id"]).toMatch(/^[0-9a-f]{32}$/);
      expect(seen["server-timing"]).toMatch(/^queue;dur=[\d.]+, load;dur=[\d.]+, run;dur=[\d.]+$/);
      expect(seen["traceparent"]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    }
    expect(cold.headers["x-call-id"]).not.toBe(warm.headers["x-call-id"]);
    await platform.deploy("fresh", "export default () => 2;");
    expect((await platform.call("fresh")).headers["x-isola-version"]).toBe("2");
  },

  "a function's headers arrive, the platform's cannot be forged": async (platform) => {
    const { status, headers: seen, text, code } = await platform.call("mirror/headers");
    expect([status, text, code]).toEqual([206, "body", undefined]);
    expect(seen["set-cookie"]).toEqual(["a=1; Path=/", "b=2"]);
    expect(seen).toMatchObject({ etag: '"1"', "x-isola-backend": "isolate" });
    expect(seen["x-call-id"]).toMatch(/^[0-9a-f]{32}$/);
    expect(seen["server-timing"]).toMatch(/^db;dur=3, queue;dur=/);
    expect(
      Object.keys(seen)
        .filter((name) => name.startsWith("x-isola-"))
        .toSorted(),
    ).toEqual(["x-isola-backend", "x-isola-cold", "x-isola-version"]);
  },

  "what a client writes under x-isola- never reaches a function": async (platform) => {
    const answer = await platform.call("mirror", {
      headers: {
        "x-isola-call": '{"ns":"other","fn":"x"}',
        "X-Isola-Reply": "{}",
        "x-isola-anything": "1",
        "cf-blob": "{}",
        "x-forwarded-prefix": "/forged",
        "x-own": "1",
      },
    });
    const seen = (answer.json as Mirrored).headers;
    expect(Object.keys(seen).filter((name) => name.startsWith("x-isola-"))).toEqual([]);
    expect(seen).toMatchObject({ "x-own": "1", "x-forwarded-prefix": "/function/mirror" });
    expect(answer.headers["x-isola-version"]).toBe("1");
  },

  "the platform's token stays with the platform, a function's own does not": async (platform) => {
    const seen = async (authorization: string) =>
      ((await platform.call("mirror", { headers: { authorization } })).json as Mirrored).headers[
        "authorization"
      ];
    const { token } = await platform.client.tokens.create("read");
    expect(await seen(`Bearer ${platform.adminToken}`)).toBeUndefined();
    expect(await seen(`bearer   ${platform.adminToken}`)).toBeUndefined();
    expect(await seen(`Bearer ${token}`)).toBeUndefined();
    expect(await seen(`BEARER ${token}`)).toBeUndefined();
    expect(await seen("Bearer isola_0123456789")).toBeUndefined();
    expect(await seen("Bearer own")).toBe("Bearer own");
    expect(await seen("Basic dTpw")).toBe("Basic dTpw");
  },

  "auth: token asks for a token of the namespace, internal for another function": async (
    platform,
  ) => {
    await platform.deploy("guarded", "export default () => 'in';", { auth: "token" });
    await platform.deploy("inner", "export default () => 'in';", { auth: "internal" });
    const codeOf = async (name: string, authorization?: string) => {
      const given = authorization === undefined ? {} : { authorization };
      const { status, code } = await platform.call(name, { headers: given });
      return [status, code];
    };
    const { token: low } = await platform.client.tokens.create("read");
    const { token } = await platform.client.tokens.create("operate");
    expect(await codeOf("guarded")).toEqual([401, "TOKEN_MISSING"]);
    expect(await codeOf("guarded", "Bearer nonsense")).toEqual([401, "TOKEN_INVALID"]);
    expect(await codeOf("guarded", `Bearer ${low}`)).toEqual([403, "ROLE_TOO_LOW"]);
    expect(await codeOf("guarded", `Bearer ${token}`)).toEqual([200, undefined]);
    expect(await codeOf("guarded", `Bearer ${platform.adminToken}`)).toEqual([200, undefined]);
    expect(await codeOf("inner")).toEqual([403, "INTERNAL_ONLY"]);
    expect(await codeOf("inner", `Bearer ${platform.adminToken}`)).toEqual([403, "INTERNAL_ONLY"]);
    await platform.client.namespaces.create({ namespace: "edge" });
    const other = await platform.client.in("edge").tokens.create("admin");
    expect(await codeOf("guarded", `Bearer ${other.token}`)).toEqual([401, "TOKEN_INVALID"]);
  },

  "a trace is taken over if it is one, else begun": async (platform) => {
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const given = `00-${traceId}-b7ad6b7169203331-01`;
    const taken = await platform.call("mirror", { headers: { traceparent: given } });
    const { trace, headers: seen } = taken.json as Mirrored;
    expect(taken.headers["traceparent"]).toBe(trace.traceparent);
    expect(seen["traceparent"]).toBe(trace.traceparent);
    expect(trace.traceId).toBe(traceId);
    expect(trace.spanId).not.toBe("b7ad6b7169203331");
    const off = await platform.call("mirror", {
      headers: { traceparent: `00-${traceId}-b7ad6b7169203331-00` },
    });
    expect(off.headers["traceparent"]).toMatch(new RegExp(`^00-${traceId}-.*-00$`));
    for (const bad of [
      "",
      "nonsense",
      `00-${"0".repeat(32)}-${"0".repeat(16)}-01`,
      `ff-${given}`,
    ]) {
      const begun = await platform.call("mirror", { headers: { traceparent: bad } });
      expect(begun.headers["traceparent"]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
      expect(begun.headers["traceparent"]).not.toContain("0".repeat(16));
    }
  },
};

export const edgeCases: CaseGroup = {
  topic: "the edge of a call",
  prepare: async (platform) => {
    await platform.deploy("mirror", MIRROR);
  },
  cases: { ...routing, ...headers },
};

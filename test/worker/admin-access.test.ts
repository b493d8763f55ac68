import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NS, type Answer, answerOf, ask, call, deploy } from "../support/admin-requests.ts";
import { ADMIN_TOKEN, type GatewayProcess, startGateway } from "../support/gateway-process.ts";

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway();
  for (const namespace of ["one", "two"]) {
    await ask(gateway, "POST", "/v1/namespaces", { json: { namespace } });
  }
  await deploy(gateway, "theirs", "export default () => 1;", { namespace: "two" });
});
afterAll(async () => {
  await gateway.stop();
});

async function createToken(namespace: string, role: string): Promise<string> {
  const path = `/v1/namespaces/${namespace}/tokens`;
  const created = await ask(gateway, "POST", path, { json: { role, label: "test" } });
  expect(created.status).toBe(201);
  return String(created.body?.["token"]);
}

/** A request with headers that fetch does not let one set. */
function raw(path: string, headers: Record<string, string>, method = "GET"): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(gateway.adminUrl + path, { headers, method }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => {
        const entries = Object.entries(response.headers).map(([k, v]) => [k, String(v)] as const);
        resolve(
          answerOf(response.statusCode ?? 0, new Headers(entries.map(([k, v]) => [k, v])), text),
        );
      });
    });
    sent.on("error", reject);
    sent.end();
  });
}

const OPERATOR = { authorization: `Bearer ${ADMIN_TOKEN}` };

describe("tokens", () => {
  it("are needed for everything below /v1, whatever is asked", async () => {
    for (const path of ["/v1", "/v1/status", `${NS}/functions`, "/v1/nothing", NS]) {
      expect((await ask(gateway, "GET", path, { token: null })).code).toBe("TOKEN_MISSING");
      for (const token of [
        "wrong",
        "isola_0123456789abcdef_00",
        `isola_${"a".repeat(16)}_${"b".repeat(48)}`,
      ]) {
        const refused = await ask(gateway, "GET", path, { token });
        expect(refused.code).toBe("TOKEN_INVALID");
        expect(refused.status).toBe(401);
        expect(refused.headers.get("www-authenticate")).toBe("Bearer");
      }
    }
  });

  it("are not needed to see health and metrics", async () => {
    for (const path of ["/healthz", "/readyz", "/metrics"]) {
      expect((await ask(gateway, "GET", path, { token: null })).status).toBe(200);
    }
    const metrics = await ask(gateway, "GET", "/metrics", { token: null });
    expect(metrics.text).toContain("isola");
    expect(metrics.text).not.toContain(ADMIN_TOKEN);
  });

  it("are shown once, stored as a hash, and end when revoked", async () => {
    const token = await createToken("one", "read");
    expect(token).toMatch(/^isola_[0-9a-f]{16}_[0-9a-f]{48}$/);
    const listed = await ask(gateway, "GET", "/v1/namespaces/one/tokens");
    expect(listed.text).not.toContain(token.split("_")[2]);
    expect(listed.text).not.toContain("hash");
    const path = "/v1/namespaces/one/functions";
    expect((await ask(gateway, "GET", path, { token })).status).toBe(200);
    const id = token.split("_")[1] ?? "";
    expect((await ask(gateway, "DELETE", `/v1/namespaces/two/tokens/${id}`)).code).toBe(
      "NOT_FOUND",
    );
    expect((await ask(gateway, "DELETE", `/v1/namespaces/one/tokens/${id}`)).status).toBe(204);
    expect((await ask(gateway, "GET", path, { token })).code).toBe("TOKEN_INVALID");
  });

  it("answer for another namespace as for one that does not exist", async () => {
    const token = await createToken("one", "admin");
    for (const rest of [
      "",
      "/functions",
      "/functions/theirs",
      "/secrets",
      "/tokens",
      "/usage",
      "/logs",
    ]) {
      const there = await ask(gateway, "GET", `/v1/namespaces/two${rest}`, { token });
      const absent = await ask(gateway, "GET", `/v1/namespaces/nil${rest}`, { token });
      expect(there.status).toBe(404);
      expect(there.code).toBe("NAMESPACE_NOT_FOUND");
      expect(there.text.replaceAll("two", "nil")).toBe(absent.text);
    }
    const deployed = await deploy(gateway, "theirs", "export default () => 2;", {
      namespace: "two",
      token,
    });
    expect(deployed.code).toBe("NAMESPACE_NOT_FOUND");
    const own = await ask(gateway, "GET", "/v1/namespaces", { token });
    expect(own.body?.["items"]).toMatchObject([{ namespace: "one" }]);
  });

  it.each([
    ["read", ["GET functions", "GET secrets", "GET usage"]],
    ["operate", ["POST functions/mine/release"]],
    [
      "deploy",
      ["PUT functions/mine/traffic", "DELETE functions/mine", "PUT secrets/A", "DELETE secrets/A"],
    ],
    ["admin", ["GET tokens", "POST tokens", "DELETE tokens/x"]],
  ])("of role %s allow what the role says and what the roles below it do", async (role, own) => {
    const roles = ["read", "operate", "deploy", "admin"];
    for (const held of roles) {
      const token = await createToken("one", held);
      for (const line of own) {
        const [method = "", rest = ""] = line.split(" ");
        const options = { token, ...(method === "GET" ? {} : { json: {} }) };
        const answer = await ask(gateway, method, `/v1/namespaces/one/${rest}`, options);
        const isAllowed = roles.indexOf(held) >= roles.indexOf(role);
        expect([held, line, answer.code === "ROLE_TOO_LOW"]).toEqual([held, line, !isAllowed]);
        expect(isAllowed || answer.status === 403).toBe(true);
      }
    }
  });

  it("of a namespace reach nothing that concerns the platform", async () => {
    const token = await createToken("one", "admin");
    const tries: [string, string, object?][] = [
      ["GET", "/v1/status"],
      ["GET", "/v1/cells"],
      ["POST", "/v1/cells/0/restart"],
      ["POST", "/v1/namespaces", { namespace: "three" }],
      ["PATCH", "/v1/namespaces/one", { quotas: { functionsMax: 1_000_000 } }],
      ["DELETE", "/v1/namespaces/one"],
    ];
    for (const [method, path, json] of tries) {
      const answer = await ask(gateway, method, path, { token, ...(json ? { json } : {}) });
      expect([path, answer.code]).toEqual([path, "ROLE_TOO_LOW"]);
    }
  });
});

describe("web pages of other origins", () => {
  it("are refused by Origin, by fetch metadata and by a rebound Host", async () => {
    const host = new URL(gateway.adminUrl).host;
    const refused: Record<string, string>[] = [
      { origin: "http://evil.example" },
      { origin: "null" },
      { origin: "http://hello.default.localhost:8080" },
      { "sec-fetch-site": "cross-site" },
      { host: "evil.example" },
      { host: "localhost.evil.example:8081" },
    ];
    for (const headers of refused) {
      const answer = await raw("/v1/status", { ...OPERATOR, ...headers });
      expect([headers, answer.code]).toEqual([headers, "ORIGIN_REFUSED"]);
      expect(answer.headers.get("access-control-allow-origin")).toBeNull();
    }
    const own = [{ origin: `http://${host}` }, { host: "localhost:8081" }, { host: "[::1]:8081" }];
    for (const headers of own) {
      expect((await raw("/v1/status", { ...OPERATOR, ...headers })).status).toBe(200);
    }
    const preflight = await raw("/v1/status", { origin: "http://evil.example" }, "OPTIONS");
    expect(preflight.code).toBe("ORIGIN_REFUSED");
  });
});

describe("requests that are wrong", () => {
  it("name the field, the method or the route that is", async () => {
    const namespaces = "/v1/namespaces";
    const unknown = await ask(gateway, "POST", namespaces, { json: { namespace: "x", cell: 1 } });
    expect(unknown.code).toBe("REQUEST_INVALID");
    expect(unknown.text).toContain('field \\"cell\\"');
    const missing = await ask(gateway, "POST", namespaces, { json: {} });
    expect(missing.text).toContain("no field namespace");
    const bad = await ask(gateway, "POST", namespaces, {
      body: "{",
      headers: { "content-type": "application/json" },
    });
    expect([bad.status, bad.code]).toEqual([400, "INPUT_MALFORMED"]);
    const text = await ask(gateway, "POST", namespaces, {
      body: "{}",
      headers: { "content-type": "text/plain" },
    });
    expect([text.status, text.code]).toEqual([415, "MEDIA_UNSUPPORTED"]);
    const big = await ask(gateway, "POST", namespaces, {
      json: { namespace: "x".repeat(2 ** 20) },
    });
    expect([big.status, big.code]).toEqual([413, "BODY_TOO_LARGE"]);
    const method = await ask(gateway, "DELETE", `${NS}/functions`);
    expect([method.status, method.code]).toEqual([405, "METHOD_NOT_ALLOWED"]);
    expect(method.headers.get("allow")).toBe("GET");
    const route = await ask(gateway, "GET", "/v1/nothing");
    expect([route.status, route.code]).toEqual([404, "ROUTE_NOT_FOUND"]);
    expect((await ask(gateway, "GET", "/", { token: null })).code).toBe("ROUTE_NOT_FOUND");
    expect((await ask(gateway, "GET", `${NS}/usage?sinceMs=x`)).code).toBe("REQUEST_INVALID");
    expect((await ask(gateway, "GET", `${NS}/traces?limit=x`)).code).toBe("REQUEST_INVALID");
    expect((await ask(gateway, "POST", "/v1/cells/7/restart")).code).toBe("NOT_FOUND");
    expect((await ask(gateway, "GET", "/v1/namespaces/nil/logs")).code).toBe("NAMESPACE_NOT_FOUND");
  });

  it("carry the error in one form, with its parts and header", async () => {
    const answer = await ask(gateway, "GET", `${NS}/functions/nil`);
    expect(answer.headers.get("x-isola-error")).toBe("FUNCTION_NOT_FOUND");
    expect(answer.body).toEqual({
      error: {
        code: "FUNCTION_NOT_FOUND",
        message: expect.stringContaining("nil") as string,
        retryable: false,
        attempted: expect.any(String) as string,
        found: expect.any(String) as string,
      },
    });
  });
});

describe("namespaces", () => {
  it("are created, counted, changed and removed with what they hold", async () => {
    const create = (json: object) => ask(gateway, "POST", "/v1/namespaces", { json });
    expect((await create({ namespace: "life", quotas: { functionsMax: 1 } })).status).toBe(201);
    expect((await create({ namespace: "life" })).code).toBe("ALREADY_EXISTS");
    for (const namespace of ["admin", "Upper", "a.b", ""]) {
      expect(["NAME_INVALID", "REQUEST_INVALID"]).toContain((await create({ namespace })).code);
    }
    const code = "export default () => 1;";
    expect((await deploy(gateway, "a", code, { namespace: "life" })).status).toBe(200);
    const second = await deploy(gateway, "b", code, { namespace: "life" });
    expect([second.status, second.code]).toEqual([429, "QUOTA_EXCEEDED"]);
    expect((await ask(gateway, "DELETE", "/v1/namespaces/life")).code).toBe("CONFLICT");
    const json = { quotas: { functionsMax: 2, bundleTotalMaxBytes: 10 } };
    const changed = await ask(gateway, "PATCH", "/v1/namespaces/life", { json });
    expect(changed.body?.["quotas"]).toMatchObject({ functionsMax: 2, bundleTotalMaxBytes: 10 });
    const large = await deploy(gateway, "b", "export default () => 12;", { namespace: "life" });
    expect(large.code).toBe("QUOTA_EXCEEDED");
    expect((await call(gateway, "a.life")).text).toBe("1");
    expect((await ask(gateway, "DELETE", "/v1/namespaces/life?force=1")).status).toBe(204);
    expect((await call(gateway, "a.life")).status).toBe(404);
    expect((await ask(gateway, "GET", "/v1/namespaces/life")).code).toBe("NAMESPACE_NOT_FOUND");
  });

  it("keep the default one", async () => {
    expect((await ask(gateway, "DELETE", `${NS}?force=1`)).code).toBe("CONFLICT");
  });

  it("end their tokens when they are removed, also if they come again", async () => {
    await ask(gateway, "POST", "/v1/namespaces", { json: { namespace: "gone" } });
    const token = await createToken("gone", "admin");
    const path = "/v1/namespaces/gone/functions";
    expect((await ask(gateway, "GET", path, { token })).status).toBe(200);
    await ask(gateway, "DELETE", "/v1/namespaces/gone");
    await ask(gateway, "POST", "/v1/namespaces", { json: { namespace: "gone" } });
    expect((await ask(gateway, "GET", path, { token })).code).toBe("TOKEN_INVALID");
  });
});

/**
 * The egress process: the only way out of a cell. It holds no secrets and runs no tenant code.
 *
 * The policy comes with each request from the cell, which takes it from the version's props; the
 * network service behind INTERNET refuses addresses that are not public after it resolved them,
 * whatever is said here. Redirects go back to the caller, whose next request is checked anew.
 */
import { type Egress, IsolaError, PRIVATE_PREFIX, SIGNATURE_HEADER } from "../contract/index.ts";
import { refuseTarget } from "./egress-policy.ts";

export interface EgressEnv {
  readonly INTERNET: Fetcher;
  readonly ALLOW_PRIVATE: readonly string[];
}

/** Headers that concern one connection, not the message. */
const HOP_BY_HOP = [
  "connection",
  "host",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];

/** Copies what is the message's own; keeps `upgrade` for web sockets. */
function endToEnd(from: Headers, keepsUpgrade: boolean): Headers {
  const headers = new Headers(from);
  const named = (from.get("connection") ?? "").split(",").map((name) => name.trim().toLowerCase());
  const names = [...headers.keys()].filter((name) => name.startsWith(PRIVATE_PREFIX));
  for (const name of [...HOP_BY_HOP, ...named, ...names]) {
    if (name !== "" && !(keepsUpgrade && name === "upgrade")) headers.delete(name);
  }
  return headers;
}

/** A callback's signature goes out; cells let no function say it (outbound.worker.ts). */
function outgoing(from: Headers, keepsUpgrade: boolean): Headers {
  const headers = endToEnd(from, keepsUpgrade);
  const signature = from.get(SIGNATURE_HEADER);
  if (signature !== null) headers.set(SIGNATURE_HEADER, signature);
  return headers;
}

function refuse(error: IsolaError): Response {
  return Response.json(error.toData(), {
    status: error.status,
    headers: { "x-isola-error": error.code },
  });
}

function readTarget(request: Request): { target: URL; policy: Egress } | IsolaError {
  const text = request.headers.get("x-isola-target") ?? "";
  const policyText = request.headers.get("x-isola-egress") ?? "";
  try {
    return { target: new URL(text), policy: parsePolicy(policyText) };
  } catch {
    return new IsolaError("REQUEST_INVALID", {
      attempted: "call through the egress",
      found: `target ${JSON.stringify(text.slice(0, 200))}, policy ${JSON.stringify(policyText)}`,
      required: "a URL and a policy",
    });
  }
}

/** Throws for anything that is no policy. */
function parsePolicy(text: string): Egress {
  const policy: unknown = JSON.parse(text);
  if (policy === "public" || policy === "none") return policy;
  if (Array.isArray(policy) && policy.every((item) => typeof item === "string")) return policy;
  throw new IsolaError("REQUEST_INVALID", { attempted: "read a policy", found: text });
}

async function passOn(request: Request, target: URL, env: EgressEnv): Promise<Response> {
  const upgrades = request.headers.get("upgrade")?.toLowerCase() === "websocket";
  const upstream = await env.INTERNET.fetch(target.href, {
    method: request.method,
    headers: outgoing(request.headers, upgrades),
    body: request.body,
    redirect: "manual",
    // A caller that went away ends the call to the other side.
    signal: request.signal,
  });
  if (upstream.webSocket !== null) return upstream;
  return new Response(upstream.body, {
    status: upstream.status,
    statusText: upstream.statusText,
    headers: endToEnd(upstream.headers, false),
  });
}

export async function handleEgress(request: Request, env: EgressEnv): Promise<Response> {
  const read = readTarget(request);
  if (read instanceof IsolaError) return refuse(read);
  const { target, policy } = read;
  const attempted = `fetch ${target.origin}`;
  const refusal = refuseTarget(target, policy, env.ALLOW_PRIVATE);
  if (refusal !== undefined) {
    return refuse(new IsolaError("EGRESS_DENIED", { attempted, ...refusal }));
  }
  try {
    return await passOn(request, target, env);
  } catch (error) {
    // The network service says the same for a name that is unknown and for one that resolves
    // to an address it refuses: telling them apart would map the private network.
    return refuse(
      new IsolaError("UPSTREAM_FAILED", {
        attempted,
        found: `no connection (${(error as Error).message})`,
        required: "a reachable public address",
      }),
    );
  }
}

/** A worker around one hub, as the gateway holds it, with a route per thing that is tried. */
import {
  type CallRecord,
  childTrace,
  newTrace,
  parseTraceparent,
  systemClock,
  systemRandom,
} from "../../runtime/contract/index.ts";
import {
  type OtlpExporter,
  TELEMETRY_LIMITS,
  createConsole,
  createOtlpExporter,
  createTelemetryHub,
} from "../../runtime/telemetry/index.ts";
import { createOtlpSender, streamLogs } from "../../runtime/telemetry/index.worker.ts";

interface Env {
  readonly NETWORK: Fetcher;
}

const hub = createTelemetryHub({ clock: systemClock, random: systemRandom });
let exporter: OtlpExporter | undefined;

type Route = (query: URLSearchParams, request: Request, env: Env) => Response | Promise<Response>;

const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

function recordOf(index: number, functions: number, nowMs: number): CallRecord {
  return {
    callId: index.toString(16).padStart(32, "0"),
    namespace: "default",
    function: `f${index % functions}`,
    version: 1,
    backend: "isolate",
    outcome: "ok",
    status: 200,
    cold: index % 100 === 0,
    startedAtMs: nowMs - 3,
    wallMs: 3,
    queueMs: 0,
    loadMs: 0,
    runMs: 2,
    bytesIn: 10,
    bytesOut: 20,
    memoryMb: 128,
  };
}

function attach(endpoint: string, env: Env): OtlpExporter {
  return createOtlpExporter({
    source: hub.traces.source,
    send: createOtlpSender({
      network: env.NETWORK,
      endpoint,
      headers: "x-key=a%20secret",
      timeoutMs: 2_000,
      clock: systemClock,
    }),
    resource: { serviceName: "isola", serviceVersion: "0.1.0" },
    clock: systemClock,
    random: systemRandom,
    limits: { ...TELEMETRY_LIMITS, exportDelayMs: 0, exportBackoffMs: 50, exportTimeoutMs: 2_000 },
  });
}

const ROUTES: Readonly<Record<string, Route>> = {
  /** What the hot path does per call, `n` times; `part` leaves some of it out, to see its price. */
  "/calls": (query) => {
    const count = Number(query.get("n"));
    const functions = Number(query.get("functions") ?? 100);
    const part = query.get("part") ?? "all";
    for (let index = 0; index < count; index += 1) {
      const record = recordOf(index, functions, systemClock.now());
      if (part === "record") continue;
      const parent = parseTraceparent(index % 2 === 0 ? PARENT : null);
      const trace = parent ? childTrace(parent, systemRandom) : newTrace(systemRandom);
      if (part === "trace") continue;
      hub.callStarted(record.namespace, record.function);
      hub.recordCall(record, trace, parent?.spanId);
    }
    return new Response("done");
  },
  "/absorb": async (_query, request) => Response.json(hub.absorb(await request.json())),
  "/follow": (query, request) => {
    const after = request.headers.get("last-event-id");
    return streamLogs(
      hub,
      { namespace: query.get("namespace") ?? "default", ...(after === null ? {} : { after }) },
      { followerLagLines: 100, followerBeatMs: 1_000 },
    );
  },
  "/logs": (query) =>
    Response.json(hub.logs.query({ namespace: query.get("namespace") ?? "default" })),
  "/traces": (query) =>
    Response.json(hub.traces.query({ namespace: "default", traceId: query.get("traceId") ?? "" })),
  "/metrics": () =>
    new Response(
      hub.metricsText({
        version: "0.1.0",
        startedAtMs: 0,
        queued: 0,
        inFlight: 0,
        cells: [],
        processes: [],
        shards: [],
        runs: { open: [], ended: [] },
        functions: [],
      }),
    ),
  "/export": (query, _request, env) => {
    exporter = attach(query.get("endpoint") ?? "", env);
    return new Response("attached");
  },
  "/tick": async () => {
    await exporter?.tick();
    return Response.json(exporter?.stats);
  },
  "/flush": async () => {
    await exporter?.flush();
    return Response.json(exporter?.stats);
  },
  "/console": (_query, request) => {
    const lines: string[] = [];
    const shown = createConsole(
      (level, text) => lines.push(`${level} ${text}`),
      () => 0,
    );
    shown["log"]?.("hello %s", "world", { url: new URL("http://a.test/b") });
    shown["error"]?.(new TypeError("broken", { cause: "a cause" }));
    shown["log"]?.(request, Response.json({}, { status: 201 }));
    return Response.json(lines);
  },
};

export default {
  fetch(request, env) {
    const url = new URL(request.url);
    const route = ROUTES[url.pathname];
    return route ? route(url.searchParams, request, env) : new Response("no", { status: 404 });
  },
} satisfies ExportedHandler<Env>;

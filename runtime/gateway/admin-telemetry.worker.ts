/** What is known of calls: logs, records, traces, usage. */
import { namespaceNotFound } from "../registry/index.ts";
import { TELEMETRY_LIMITS } from "../telemetry/index.ts";
import { streamLogs } from "../telemetry/index.worker.ts";
import { type AdminCall, type AdminRoute, items, json } from "./admin-route.worker.ts";
import { queryFlag, queryInteger } from "./request-fields.ts";
import { usageReport } from "./usage-report.worker.ts";

const TIME_MAX_MS = 2 ** 52;
const LIMIT_MAX = 10_000;
const DAY_MS = 24 * 60 * 60 * 1_000;

export const TELEMETRY_ROUTES: readonly AdminRoute[] = [
  {
    method: "GET",
    path: "/usage",
    needs: "read",
    handle: async (call) => {
      const sinceMs = since(call) ?? call.state.clock.now() - DAY_MS;
      return json(await usageReport(call.state, call.namespace, sinceMs));
    },
  },
  {
    method: "GET",
    path: "/logs",
    needs: "read",
    handle: async (call) => {
      await requireNamespace(call);
      const { hub } = call.state;
      const query = { ...filter(call), ...optionalNumber("sinceMs", since(call)) };
      if (queryFlag(call.query, "follow")) {
        const after = call.request.headers.get("last-event-id");
        const resumed = after === null ? query : { ...query, after };
        return streamLogs(hub, resumed, TELEMETRY_LIMITS);
      }
      const answer = hub.logs.query({ ...query, ...optionalNumber("limit", limit(call)) });
      return json({ items: answer.lines, droppedLines: answer.droppedLines });
    },
  },
  {
    method: "GET",
    path: "/calls",
    needs: "read",
    handle: async (call) => {
      await requireNamespace(call);
      const query = {
        ...filter(call),
        ...optionalNumber("sinceMs", since(call)),
        ...optionalNumber("limit", limit(call)),
      };
      return items(call.state.hub.calls.query(query).toReversed());
    },
  },
  {
    method: "GET",
    path: "/traces",
    needs: "read",
    handle: async (call) => {
      await requireNamespace(call);
      const { namespace, query, state } = call;
      const callId = query.get("callId");
      const traceId = query.get("traceId") ?? query.get("trace");
      if (callId !== null) return items(state.hub.traces.query({ namespace, callId }));
      if (traceId !== null) return items(state.hub.traces.query({ namespace, traceId }));
      const kept = {
        ...filter(call),
        ...optionalNumber("sinceMs", since(call)),
        ...optionalNumber("limit", limit(call)),
      };
      return items(state.hub.traces.list(kept));
    },
  },
];

async function requireNamespace({ state, namespace }: AdminCall): Promise<void> {
  await state.ready();
  if (!state.table.namespace(namespace)) throw namespaceNotFound(namespace);
}

function filter(call: AdminCall): { namespace: string; function?: string } {
  const { namespace, query } = call;
  const name = query.get("function");
  return name === null || name === "" ? { namespace } : { namespace, function: name };
}

function since(call: AdminCall): number | undefined {
  return queryInteger(call.query, ["sinceMs", "since"], TIME_MAX_MS);
}

function limit(call: AdminCall): number | undefined {
  return queryInteger(call.query, ["limit"], LIMIT_MAX);
}

function optionalNumber<K extends string>(
  key: K,
  value: number | undefined,
): Partial<Record<K, number>> {
  return value === undefined ? {} : ({ [key]: value } as Record<K, number>);
}

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import parsePrometheus from "parse-prometheus-text-format";
import { ERRORS, type ErrorCode } from "../../runtime/contract/index.ts";
import { type MetricsGauges, createTelemetryHub } from "../../runtime/telemetry/index.ts";
import { callRecord, handClock, logLine, seededRandom } from "../support/telemetry-records.ts";

type Hub = ReturnType<typeof createTelemetryHub>;

function newHub(limits: Parameters<typeof createTelemetryHub>[0]["limits"] = {}): Hub {
  return createTelemetryHub({ clock: handClock(), random: seededRandom(), limits });
}

function gauges(fields: Partial<MetricsGauges> = {}): MetricsGauges {
  return {
    version: "0.1.0",
    startedAtMs: 1_000,
    queued: 0,
    inFlight: 0,
    cells: [],
    processes: [],
    shards: [],
    runs: { open: [], ended: [] },
    functions: [],
    ...fields,
  };
}

/** Value of one sample, by its name and labels as they stand in the text. */
function valueOf(text: string, sample: string): number | undefined {
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${sample} `));
  return line === undefined ? undefined : Number(line.slice(sample.length + 1));
}

function familyOf(text: string, name: string) {
  return parsePrometheus(text).find((family) => family.name === name);
}

describe("metrics", () => {
  it("count calls by function and status under OpenFaaS's names", () => {
    const hub = newHub();
    for (const status of [200, 200, 500]) {
      hub.callStarted("shop", "cart");
      hub.recordCall(callRecord({ namespace: "shop", function: "cart", status, wallMs: 20 }));
    }
    hub.callStarted("shop", "cart");
    const text = hub.metricsText(gauges());
    const total = "gateway_function_invocation_total";
    expect(valueOf(text, `${total}{function_name="cart.shop",code="200"}`)).toBe(2);
    expect(valueOf(text, `${total}{function_name="cart.shop",code="500"}`)).toBe(1);
    const started = "gateway_function_invocation_started";
    expect(valueOf(text, `${started}{function_name="cart.shop"}`)).toBe(4);
    const inFlight = "gateway_function_invocation_inflight";
    expect(valueOf(text, `${inFlight}{function_name="cart.shop"}`)).toBe(1);
    const sum = 'gateway_functions_seconds_sum{function_name="cart.shop",code="200"}';
    expect(valueOf(text, sum)).toBe(0.04);
  });

  it("put every duration into the buckets at and above it", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 60_000, noNaN: true })), (durations) => {
        const hub = newHub();
        for (const queueMs of durations) hub.recordCall(callRecord({ queueMs }));
        const family = familyOf(hub.metricsText(gauges()), "isola_call_queue_seconds");
        const { buckets = {}, count } = family?.metrics[0] ?? {};
        for (const [bound, value] of Object.entries(buckets)) {
          const boundMs = bound === "+Inf" ? Number.POSITIVE_INFINITY : Number(bound) * 1_000;
          expect(Number(value)).toBe(durations.filter((duration) => duration <= boundMs).length);
        }
        expect(Number(count)).toBe(durations.length);
        expect(Object.keys(buckets)).toContain("+Inf");
      }),
    );
  });

  it("count runs by workflow and status, the most numerous first", () => {
    const hub = newHub({ functionSeriesMax: 2 });
    const namespace = "shop";
    const runs = {
      open: [{ namespace, workflow: "pay", status: "running", count: 3 } as const],
      ended: [1, 2, 3].map(
        (count) =>
          ({ namespace, workflow: `w${String(count)}`, status: "completed", count }) as const,
      ),
    };
    const text = hub.metricsText(gauges({ runs }));
    const labels = 'namespace="shop",workflow="pay",status="running"';
    expect(valueOf(text, `isola_runs{${labels}}`)).toBe(3);
    const ended = familyOf(text, "isola_runs_ended_total")?.metrics ?? [];
    expect(ended.map((metric) => metric.labels?.["workflow"])).toStrictEqual(["w3", "w2"]);
  });

  it("show cells, processes, verdicts, errors and the exporter", () => {
    const hub = newHub();
    hub.refused("QUEUE_FULL");
    hub.recordVerdict({ slot: 99, cause: "MAX_BLOCK", suspects: [], convicted: "a/b@1", atMs: 0 });
    hub.recordVerdict({ slot: 0, cause: "CELL_LOST", suspects: [], atMs: 0 });
    const text = hub.metricsText(
      gauges({
        queued: 3,
        inFlight: 4,
        cells: [
          { slot: 0, role: "shared", state: "up", restarts: 2, isolates: 7, evictions: 5 },
          { slot: 1, role: "dedicated", namespace: "shop", state: "down", restarts: 0 },
        ],
        processes: [{ name: "gateway", pid: 1, residentBytes: 4096, cpuMs: 1_500 }],
        functions: [
          { namespace: "shop", name: "cart", quarantined: false },
          { namespace: "shop", name: "bad", quarantined: true },
        ],
        spanExport: { sentSpans: 8, droppedSpans: 1, requests: 2, failures: 0, lastError: "" },
      }),
    );
    const shared = '{slot="0",role="shared",namespace=""}';
    const dedicated = '{slot="1",role="dedicated",namespace="shop"}';
    const expected: Record<string, number | undefined> = {
      isola_queued_calls: 3,
      isola_in_flight_calls: 4,
      'isola_errors_total{code="QUEUE_FULL"}': 1,
      'isola_verdicts_total{cause="CELL_LOST"}': 1,
      'isola_convictions_total{cause="MAX_BLOCK"}': 1,
      'isola_convictions_total{cause="CELL_LOST"}': 0,
      [`isola_cell_up${shared}`]: 1,
      [`isola_cell_up${dedicated}`]: 0,
      [`isola_cell_isolates${shared}`]: 7,
      [`isola_cell_isolates${dedicated}`]: undefined,
      [`isola_cell_evictions_total${shared}`]: 5,
      [`isola_cell_restarts_total${shared}`]: 2,
      'isola_process_resident_memory_bytes{process="gateway"}': 4096,
      'isola_process_cpu_seconds_total{process="gateway"}': 1.5,
      'gateway_service_count{function_name="cart.shop"}': 1,
      'gateway_service_count{function_name="bad.shop"}': 0,
      isola_functions_quarantined: 1,
      'isola_exported_spans_total{result="sent"}': 8,
    };
    for (const [sample, value] of Object.entries(expected)) {
      expect([sample, valueOf(text, sample)]).toEqual([sample, value]);
    }
  });

  it("count lines that were dropped and items that were rejected", () => {
    const hub = newHub({ logLinesPerFunction: 1 });
    hub.recordLogs([logLine(), logLine()]);
    hub.absorb({ logs: ["no line"] });
    const text = hub.metricsText(gauges());
    expect(valueOf(text, "isola_log_lines_total")).toBe(2);
    expect(valueOf(text, "isola_log_lines_dropped_total")).toBe(1);
    expect(valueOf(text, "isola_telemetry_rejected_total")).toBe(1);
  });
});

describe("the number of series", () => {
  it("is bounded by functions: later ones are counted together", () => {
    const hub = newHub({ functionSeriesMax: 2 });
    for (const name of ["a", "b", "c", "d"]) hub.recordCall(callRecord({ function: name }));
    const total = familyOf(hub.metricsText(gauges()), "gateway_function_invocation_total");
    const counts = total?.metrics.map(({ labels, value }) => [labels?.["function_name"], value]);
    expect(counts).toEqual([
      ["a.default", "1"],
      ["b.default", "1"],
      ["other", "2"],
    ]);
  });

  it("is bounded by statuses of one function", () => {
    const hub = newHub({ codesPerFunction: 3 });
    for (let status = 200; status < 210; status += 1) hub.recordCall(callRecord({ status }));
    const total = familyOf(hub.metricsText(gauges()), "gateway_function_invocation_total");
    const counts = total?.metrics.map(({ labels, value }) => [labels?.["code"], value]);
    expect(counts).toEqual([
      ["200", "1"],
      ["201", "1"],
      ["other", "8"],
    ]);
  });

  it("falls when a function or a namespace is removed, and its place is free", () => {
    const hub = newHub({ functionSeriesMax: 1 });
    hub.recordCall(callRecord({ namespace: "gone" }));
    hub.forget("gone");
    hub.recordCall(callRecord({ namespace: "new" }));
    const text = hub.metricsText(gauges());
    expect(text).not.toContain("hello.gone");
    expect(text).toContain("hello.new");
    expect(text).not.toContain("other");
  });

  it("is bounded for live functions, too", () => {
    const hub = newHub({ functionSeriesMax: 1 });
    const functions = ["a", "b", "c"].map((name) => ({
      namespace: "default",
      name,
      quarantined: name === "c",
    }));
    const text = hub.metricsText(gauges({ functions }));
    expect(valueOf(text, 'gateway_service_count{function_name="other"}')).toBe(1);
    expect(valueOf(text, "isola_functions")).toBe(3);
  });
});

describe("the exposition format", () => {
  const label = fc.stringMatching(/^[a-z0-9]{1,8}$/);
  const anyText = fc.string({ unit: "binary", maxLength: 12 });

  it("is read back by a parser of its own with every label and value, whatever the names", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ name: label, namespace: label, status: fc.integer({ min: 100, max: 599 }) }),
        ),
        fc.array(fc.record({ name: anyText, residentBytes: fc.nat() })),
        fc.constantFrom(...(Object.keys(ERRORS) as ErrorCode[])),
        (calls, processes, code) => {
          const hub = newHub();
          const expected = new Map<string, number>();
          for (const { name, namespace, status } of calls) {
            hub.recordCall(callRecord({ namespace, function: name, status }));
            const key = `${name}.${namespace} ${status}`;
            expected.set(key, (expected.get(key) ?? 0) + 1);
          }
          hub.refused(code);
          const shown = processes.map((row) => ({ ...row, pid: 1, cpuMs: 0 }));
          const text = hub.metricsText(gauges({ processes: shown }));
          const total = familyOf(text, "gateway_function_invocation_total");
          const read = (total?.metrics ?? []).map(({ labels, value }) => [
            `${labels?.["function_name"] ?? ""} ${labels?.["code"] ?? ""}`,
            Number(value),
          ]);
          expect(read).toHaveLength(expected.size);
          expect(new Map(read as [string, number][])).toEqual(expected);
          const resident = familyOf(text, "isola_process_resident_memory_bytes");
          const names = (resident?.metrics ?? []).map(({ labels }) => labels?.["process"]);
          expect(names).toEqual([...new Set(processes.map(({ name }) => name))]);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("has each family once, help and type before samples, and ends with a new line", () => {
    const hub = newHub();
    hub.recordCall(callRecord());
    hub.recordCall(callRecord({ function: "another" }));
    const text = hub.metricsText(gauges());
    const families = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name]) => name ?? "");
    expect(new Set(families).size).toBe(families.length);
    let current = "";
    for (const line of text.trimEnd().split("\n")) {
      const head = /^# TYPE (\S+)/.exec(line)?.[1];
      if (head !== undefined) current = head;
      const isOfFamily = line.startsWith("# ") || line.startsWith(current);
      expect([line, isOfFamily]).toEqual([line, true]);
      expect(line).toMatch(/^(# (HELP|TYPE) .+|[a-z_]+(\{.*\})? \S+)$/);
    }
    expect(text.endsWith("\n")).toBe(true);
  });
});

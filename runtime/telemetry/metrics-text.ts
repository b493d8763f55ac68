/**
 * Prometheus text format 0.0.4, with OpenFaaS's names for what OpenFaaS has and `isola_` for the
 * rest. Labels are written by `sample` alone, which escapes them; the number of series is bounded
 * by functions and codes, here and in call-series.ts.
 */
import { type CellInfo, STORE_TIERS, type StoreTierBytes } from "../contract/index.ts";
import { BUCKETS_MS, type Histogram, type PlatformSeries } from "./call-series.ts";
import type { FunctionTable } from "./function-table.ts";
import type { StoreLedger, StoreTotals } from "./store-ledger.ts";
import type { MetricsGauges } from "./telemetry-hub.ts";

type Labels = Readonly<Record<string, string | number>>;
type Kind = "counter" | "gauge" | "histogram";

/** Bounds in seconds, with what stands between a bound and its value. */
const BOUNDS = [...BUCKETS_MS.map((bound) => `${bound / 1_000}"} `), '+Inf"} '];

/** Collects families; a family without samples is left out. */
class TextWriter {
  #text = "";
  #head = "";

  family(name: string, kind: Kind, help: string): void {
    this.#head = `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${kind}\n`;
  }

  sample(name: string, labels: Labels, value: number): void {
    this.line(name, labelText(labels), value);
  }

  /** A sample whose labels are text already. */
  line(name: string, labels: string, value: number): void {
    const braced = labels === "" ? "" : `{${labels}}`;
    this.#text += `${this.#head}${name}${braced} ${numberText(value)}\n`;
    this.#head = "";
  }

  /** The family of one sample without labels. */
  single(name: string, kind: Kind, help: string, value: number): void {
    this.family(name, kind, help);
    this.line(name, "", value);
  }

  /** Most of the text is made here: the parts that repeat are put together once. */
  histogram(name: string, labels: string, histogram: Histogram): void {
    const start = `${name}_bucket{${labels}${labels === "" ? "" : ","}le="`;
    let text = this.#head;
    this.#head = "";
    let cumulated = 0;
    for (let index = 0; index < BOUNDS.length; index += 1) {
      cumulated += histogram.counts[index] ?? 0;
      text += `${start}${BOUNDS[index] ?? ""}${cumulated}\n`;
    }
    this.#text += text;
    this.line(`${name}_sum`, labels, histogram.sumMs / 1_000);
    this.line(`${name}_count`, labels, histogram.count);
  }

  text(): string {
    return this.#text;
  }
}

export function renderMetrics(
  table: FunctionTable,
  platform: PlatformSeries,
  spans: number,
  gauges: MetricsGauges,
  store: StoreLedger,
  functionSeriesMax: number,
): string {
  const writer = new TextWriter();
  writeFunctions(writer, table);
  writeServices(writer, gauges, functionSeriesMax);
  writeCalls(writer, platform);
  writeGateway(writer, gauges);
  writeCells(writer, gauges.cells);
  writeShards(writer, gauges);
  writeRuns(writer, gauges.runs, functionSeriesMax);
  writeStore(writer, store, functionSeriesMax);
  writeProcesses(writer, gauges);
  writeTelemetry(writer, table, platform, spans);
  writeExport(writer, gauges.spanExport);
  return writer.text();
}

/** Every function's series, family by family, as the format wants them. */
function writeFunctions(writer: TextWriter, table: FunctionTable): void {
  const rows = [...table.series()].map((series) => ({
    series,
    name: labelText({ function_name: series.label }),
  }));
  const total = "gateway_function_invocation_total";
  writer.family(total, "counter", "Calls that ended, by function and HTTP status.");
  for (const { series, name } of rows) {
    for (const { code, seconds } of series.codes) {
      writer.line(total, `${name},code="${code}"`, seconds.count);
    }
  }
  const started = "gateway_function_invocation_started";
  writer.family(started, "counter", "Calls that were sent to a cell.");
  for (const { series, name } of rows) writer.line(started, name, series.started);
  const inFlight = "gateway_function_invocation_inflight";
  writer.family(inFlight, "gauge", "Calls started and not ended.");
  for (const { series, name } of rows) writer.line(inFlight, name, series.inFlight);
  const seconds = "gateway_functions_seconds";
  writer.family(seconds, "histogram", "Wall time of calls, by function and HTTP status.");
  for (const { series, name } of rows) {
    for (const code of series.codes) {
      writer.histogram(seconds, `${name},code="${code.code}"`, code.seconds);
    }
  }
}

function writeServices(writer: TextWriter, gauges: MetricsGauges, functionSeriesMax: number): void {
  let functions = 0;
  let beyond = 0;
  const quarantined: string[] = [];
  const count = "gateway_service_count";
  writer.family(count, "gauge", "Live functions; 0 while quarantined.");
  for (const live of gauges.functions) {
    functions += 1;
    const label = `${live.name}.${live.namespace}`;
    if (live.quarantined) quarantined.push(label);
    if (functions > functionSeriesMax) beyond += live.quarantined ? 0 : 1;
    else writer.sample(count, { function_name: label }, live.quarantined ? 0 : 1);
  }
  if (functions > functionSeriesMax) writer.sample(count, { function_name: "other" }, beyond);
  writer.single("isola_functions", "gauge", "Live functions.", functions);
  const held = "isola_functions_quarantined";
  writer.single(held, "gauge", "Live functions in quarantine.", quarantined.length);
  const each = "isola_function_quarantined";
  writer.family(each, "gauge", "1 for every function in quarantine.");
  for (const label of quarantined.slice(0, functionSeriesMax)) {
    writer.sample(each, { function_name: label }, 1);
  }
}

function writeCalls(writer: TextWriter, platform: PlatformSeries): void {
  const counters: readonly [string, string, string, Iterable<[string, number]>][] = [
    [
      "isola_calls_total",
      "outcome",
      "Calls that ended, by outcome.",
      Object.entries(platform.outcomes),
    ],
    [
      "isola_errors_total",
      "code",
      "Calls that the platform answered with an error of its own.",
      platform.errors,
    ],
    [
      "isola_verdicts_total",
      "cause",
      "Cells that died or were ended, by cause.",
      Object.entries(platform.verdicts),
    ],
    [
      "isola_convictions_total",
      "cause",
      "Versions convicted in the probation cell.",
      Object.entries(platform.convictions),
    ],
    [
      "isola_callbacks_total",
      "result",
      "Attempts to tell a URL what came of a run.",
      Object.entries(platform.callbacks),
    ],
  ];
  for (const [name, label, help, values] of counters) {
    writer.family(name, "counter", help);
    for (const [key, value] of values) writer.sample(name, { [label]: key }, value);
  }
  writer.single(
    "isola_cold_starts_total",
    "counter",
    "Calls that waited for their isolate to load.",
    platform.coldStarts,
  );
  writer.single("isola_call_in_bytes_total", "counter", "Bodies of requests.", platform.bytesIn);
  writer.single("isola_call_out_bytes_total", "counter", "Bodies of answers.", platform.bytesOut);
  const phases: readonly [string, string, Histogram][] = [
    ["isola_call_queue_seconds", "Wait in the gateway.", platform.queue],
    ["isola_call_load_seconds", "Loading of isolates, cold calls alone.", platform.load],
    ["isola_call_run_seconds", "Tenant code, until the response's head.", platform.run],
  ];
  for (const [name, help, histogram] of phases) {
    writer.family(name, "histogram", help);
    writer.histogram(name, "", histogram);
  }
}

function writeGateway(writer: TextWriter, gauges: MetricsGauges): void {
  writer.family("isola_build_info", "gauge", "1, with the version of the platform.");
  writer.sample("isola_build_info", { version: gauges.version }, 1);
  writer.single(
    "isola_start_time_seconds",
    "gauge",
    "Start of the platform since the Unix epoch.",
    gauges.startedAtMs / 1_000,
  );
  writer.single("isola_queued_calls", "gauge", "Calls waiting in the gateway.", gauges.queued);
  writer.single("isola_in_flight_calls", "gauge", "Calls in flight in cells.", gauges.inFlight);
}

function writeCells(writer: TextWriter, cells: MetricsGauges["cells"]): void {
  type Cell = MetricsGauges["cells"][number];
  const families: readonly [string, Kind, string, (cell: Cell) => number | undefined][] = [
    ["isola_cell_up", "gauge", "1 if the cell answers.", (cell) => (cell.state === "up" ? 1 : 0)],
    ["isola_cell_restarts_total", "counter", "Restarts of the cell.", (cell) => cell.restarts],
    ["isola_cell_isolates", "gauge", "Isolates that the cell holds.", (cell) => cell.isolates],
    ["isola_cell_in_flight_calls", "gauge", "Calls in the cell.", (cell) => cell.inFlight],
    ["isola_cell_loads_total", "counter", "Isolates loaded.", (cell) => cell.loads],
    ["isola_cell_evictions_total", "counter", "Isolates evicted.", (cell) => cell.evictions],
  ];
  for (const [name, kind, help, valueOf] of families) {
    writer.family(name, kind, help);
    for (const cell of cells) {
      const value = valueOf(cell);
      if (value !== undefined) writer.sample(name, cellLabels(cell), value);
    }
  }
}

function writeShards(writer: TextWriter, { shards }: MetricsGauges): void {
  writer.family("isola_shard_up", "gauge", "1 if the shard answers.");
  for (const { shard, isUp } of shards) {
    writer.sample("isola_shard_up", { shard }, isUp ? 1 : 0);
  }
}

/** By namespace, workflow and status; beyond the bound those of fewest runs are left out. */
function writeRuns(
  writer: TextWriter,
  { open, ended }: MetricsGauges["runs"],
  seriesMax: number,
): void {
  const families = [
    ["isola_runs", "gauge", "Runs that have not ended, by status.", open],
    ["isola_runs_ended_total", "counter", "Runs that ended, by how they did.", ended],
  ] as const;
  for (const [name, kind, help, rows] of families) {
    writer.family(name, kind, help);
    const most = rows.toSorted((one, other) => other.count - one.count).slice(0, seriesMax);
    for (const { namespace, workflow, status, count } of most) {
      writer.sample(name, { namespace, workflow, status }, count);
    }
  }
}

/** By namespace, and by tier where there is one; namespaces beyond the bound are left out. */
function writeStore(writer: TextWriter, store: StoreLedger, namespacesMax: number): void {
  const rows = store
    .namespaces()
    .slice(0, namespacesMax)
    .map((namespace) => ({ namespace, totals: store.totals(namespace) }));
  const tiered: readonly [string, Kind, string, (totals: StoreTotals) => StoreTierBytes][] = [
    ["isola_store_bytes", "gauge", "Bytes in the store.", ({ bytes }) => bytes],
    [
      "isola_store_high_water_bytes",
      "gauge",
      "Most bytes at once, each shard since it began.",
      ({ highWaterBytes }) => highWaterBytes,
    ],
    [
      "isola_store_byte_seconds_total",
      "counter",
      "Bytes in the store times the seconds they were there.",
      ({ byteSeconds }) => byteSeconds,
    ],
  ];
  for (const [name, kind, help, valuesOf] of tiered) {
    writer.family(name, kind, help);
    for (const { namespace, totals } of rows) {
      const values = valuesOf(totals);
      for (const tier of STORE_TIERS) writer.sample(name, { namespace, tier }, values[tier]);
    }
  }
  const plain: readonly [string, Kind, string, (totals: StoreTotals) => number][] = [
    ["isola_store_held_bytes", "gauge", "Bytes of values, each once.", (row) => row.heldBytes],
    ["isola_store_operations_total", "counter", "Operations.", (row) => row.operations],
    ["isola_store_in_bytes_total", "counter", "Bytes put.", (row) => row.bytesIn],
    ["isola_store_out_bytes_total", "counter", "Bytes read.", (row) => row.bytesOut],
  ];
  for (const [name, kind, help, valueOf] of plain) {
    writer.family(name, kind, help);
    for (const { namespace, totals } of rows) writer.sample(name, { namespace }, valueOf(totals));
  }
}

function cellLabels(cell: CellInfo): Labels {
  return { slot: cell.slot, role: cell.role, namespace: cell.namespace ?? "" };
}

function writeProcesses(writer: TextWriter, gauges: MetricsGauges): void {
  // By name: while one process replaces another both may be reported, and a sample that stands
  // there twice spoils the whole scrape.
  const processes = [...new Map(gauges.processes.map((row) => [row.name, row])).values()];
  const resident = "isola_process_resident_memory_bytes";
  writer.family(resident, "gauge", "Resident memory of the platform's processes.");
  for (const { name, residentBytes } of processes) {
    writer.sample(resident, { process: name }, residentBytes);
  }
  const cpu = "isola_process_cpu_seconds_total";
  writer.family(cpu, "counter", "Processor time of the platform's processes.");
  for (const { name, cpuMs } of processes) writer.sample(cpu, { process: name }, cpuMs / 1_000);
}

function writeTelemetry(
  writer: TextWriter,
  table: FunctionTable,
  platform: PlatformSeries,
  spans: number,
): void {
  const counters: readonly [string, string, number][] = [
    ["isola_log_lines_total", "Console lines taken in.", platform.logLines],
    [
      "isola_log_lines_dropped_total",
      "Console lines that left memory for newer ones.",
      platform.logLinesDropped,
    ],
    ["isola_spans_total", "Spans taken in.", spans],
    [
      "isola_telemetry_rejected_total",
      "Items from cells that were malformed or not theirs.",
      platform.itemsRejected,
    ],
  ];
  for (const [name, help, value] of counters) writer.single(name, "counter", help, value);
  const memory = "isola_telemetry_memory_bytes";
  writer.single(memory, "gauge", "Estimate of what lines and records take.", table.bytes);
}

function writeExport(writer: TextWriter, stats: MetricsGauges["spanExport"]): void {
  if (stats === undefined) return;
  const exported = "isola_exported_spans_total";
  writer.family(exported, "counter", "Spans of the OTLP exporter, by what became of them.");
  writer.sample(exported, { result: "sent" }, stats.sentSpans);
  writer.sample(exported, { result: "dropped" }, stats.droppedSpans);
}

function labelText(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escapeLabel(String(value))}"`)
    .join(",");
}

function escapeLabel(text: string): string {
  return text.replaceAll(/[\\"\n]/g, (character) =>
    character === "\n" ? "\\n" : `\\${character}`,
  );
}

function escapeHelp(text: string): string {
  return text.replaceAll(/[\\\n]/g, (character) => (character === "\n" ? "\\n" : "\\\\"));
}

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  if (Number.isNaN(value)) return "NaN";
  return value > 0 ? "+Inf" : "-Inf";
}

/** What the host says to the gateway (contract/control.ts). */
import {
  CELL_CONTROL,
  type CellsReport,
  GATEWAY_CONTROL,
  type HostMetrics,
  LIMITS,
  type SuspectNews,
  type Verdict,
  parseSuspectKey,
  toIsolaError,
} from "../contract/index.ts";
import type { Dispatcher } from "./dispatcher.worker.ts";
import { reportBug } from "./report-bug.worker.ts";
import type { GatewayState } from "./state.worker.ts";
import type { StoreMeter } from "./store-meter.worker.ts";
import { endLostJobs } from "./store-from-cell.worker.ts";
import type { VerdictEffect } from "./suspects.ts";
import { sleep } from "./system-timers.worker.ts";

export interface ControlParts {
  readonly state: GatewayState;
  readonly dispatcher: Dispatcher;
  readonly store: StoreMeter;
}

/** Longest that the end of a platform waits for its trace collector. */
const LAST_EXPORT_MS = 2_000;

export async function handleControl(
  parts: ControlParts,
  request: Request,
  ctx: ExecutionContext,
): Promise<Response> {
  try {
    return await route(parts, request, ctx);
  } catch (thrown) {
    const error = toIsolaError(thrown, "take a message of the host");
    return Response.json(error.toData(), { status: error.status });
  }
}

async function route(
  parts: ControlParts,
  request: Request,
  ctx: ExecutionContext,
): Promise<Response> {
  const { state, dispatcher } = parts;
  switch (new URL(request.url).pathname) {
    case GATEWAY_CONTROL.ready:
      await state.ready();
      return Response.json({ ready: true });
    case GATEWAY_CONTROL.cells:
      state.cells.apply(await request.json<CellsReport>());
      dispatcher.admission.pumpAll();
      ctx.waitUntil(
        Promise.all([
          state.deliverLater(),
          tellSuspects(parts, dispatcher.suspects.tell()),
          // A shard that opened anew knows no quotas.
          parts.store.collect(),
          endLostJobs(state),
        ]),
      );
      return noContent();
    case GATEWAY_CONTROL.verdict:
      await takeVerdict(parts, await request.json<Verdict>(), ctx);
      return noContent();
    case GATEWAY_CONTROL.disconnects: {
      const { clients } = await request.json<{ clients: string[] }>();
      return Response.json({ canceled: dispatcher.inFlight.cancelClients(clients) });
    }
    case GATEWAY_CONTROL.telemetry:
      return Response.json(state.hub.absorb(await request.json()));
    case GATEWAY_CONTROL.metrics:
      state.hostMetrics = await request.json<HostMetrics>();
      // The pulse of a platform that nobody calls: what waits for an event is seen to here.
      state.housekeep(ctx);
      tellChanges(parts, ctx);
      return noContent();
    case GATEWAY_CONTROL.drain:
      await drain(parts);
      return noContent();
    default:
      return new Response(null, { status: 404 });
  }
}

/** Suspects run in the probation cell from now on; a third conviction quarantines. */
async function takeVerdict(
  parts: ControlParts,
  verdict: Verdict,
  ctx: ExecutionContext,
): Promise<void> {
  const { state, dispatcher } = parts;
  state.hub.recordVerdict(verdict);
  const effect = dispatcher.takeVerdict(verdict);
  tellOwner(state, verdict, effect);
  if (!effect.changed) return;
  ctx.waitUntil(tellSuspects(parts, dispatcher.suspects.tell()));
  if (effect.quarantine === undefined) return;
  const key = parseSuspectKey(effect.quarantine);
  if (!key) return;
  ctx.waitUntil(
    state.change("quarantine", key, ctx).then(
      () => dispatcher.suspects.forget(effect.quarantine ?? ""),
      (thrown: unknown) => reportBug(toIsolaError(thrown, "quarantine a version")),
    ),
  );
}

const CONVICTED: Readonly<Record<Verdict["cause"], string>> = {
  MAX_BLOCK: "it held the thread of its process for longer than its maxBlockMs, and was ended",
  MEMORY_LIMIT: "it exhausted the memory of its process, and was ended",
  CELL_LOST: "its process crashed while it was alone in it",
};

/** Whoever reads a function's logs learns what became of it, and not only its callers. */
function tellOwner(state: GatewayState, verdict: Verdict, effect: VerdictEffect): void {
  const key = effect.convicted === undefined ? undefined : parseSuspectKey(effect.convicted);
  if (!key) return;
  const { namespace, name, version } = key;
  const text =
    effect.quarantine === undefined
      ? CONVICTED[verdict.cause]
      : `${CONVICTED[verdict.cause]}; it is in quarantine until a new version, or isola release`;
  const callId = verdict.suspects.find((one) => one.key === effect.convicted)?.callIds[0] ?? "";
  const about = { callId, namespace, function: name, version };
  state.hub.recordLogs([{ ...about, atMs: verdict.atMs, level: "error", text }]);
}

/** Acquittals and the ends of paroles wait for an event of the host. */
function tellChanges(parts: ControlParts, ctx: ExecutionContext): void {
  const news = parts.dispatcher.suspects.news(parts.state.clock.now());
  if (news) ctx.waitUntil(tellSuspects(parts, news));
}

/** Cells must not run calls between functions of suspects themselves; the acquitted come back. */
async function tellSuspects({ state }: ControlParts, news: SuspectNews): Promise<void> {
  const body = JSON.stringify(news);
  await Promise.allSettled(
    state.cells.liveSlots().map(async (slot) => {
      const response = await state.bindings
        .control(slot)
        .fetch(`http://cell${CELL_CONTROL.suspects}`, { method: "POST", body });
      await response.body?.cancel();
    }),
  );
}

/** New calls are refused; those in flight end, or the bound does. Usage is on disk afterwards. */
async function drain({ state, dispatcher, store }: ControlParts): Promise<void> {
  dispatcher.isDraining = true;
  const untilMs = state.clock.now() + LIMITS.drainMs;
  while (dispatcher.inFlight.size > 0 && state.clock.now() < untilMs) await sleep(50);
  await store.collect();
  await Promise.all([state.persistUsage(), store.keep()]);
  if (state.exporter) await Promise.race([state.exporter.flush(), sleep(LAST_EXPORT_MS)]);
}

function noContent(): Response {
  return new Response(null, { status: 204 });
}

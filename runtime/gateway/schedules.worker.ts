/**
 * Ticks of schedules become runs.
 *
 * 1. A run of a tick has a key, the schedule and the time at which it was due: a tick that is told
 *    again finds the run that it began (registry T2).
 * 2. What may succeed later is left out of the answer, and told again. What cannot is ended with
 *    its reason.
 */
import { IsolaError, pickTarget, toIsolaError } from "../contract/index.ts";
import type { EndedTick, Tick } from "../registry/index.ts";
import { startRun } from "./runs.worker.ts";
import type { GatewayState } from "./state.worker.ts";

/** Answers the ticks that are done with. Never throws. */
export async function beginTicks(
  state: GatewayState,
  ticks: readonly Tick[],
): Promise<readonly EndedTick[]> {
  const ended = await Promise.all(ticks.map((tick) => beginTick(state, tick)));
  return ended.flatMap((tick) => tick ?? []);
}

async function beginTick(state: GatewayState, tick: Tick): Promise<EndedTick | undefined> {
  try {
    return { ...tick, run: await begin(state, tick), error: null };
  } catch (thrown) {
    const error = toIsolaError(thrown, `begin a run of ${tick.name} by its schedule`);
    if (error.retryable) return undefined;
    return { ...tick, run: null, error: `${error.code}: ${error.parts.found}` };
  }
}

async function begin(state: GatewayState, tick: Tick): Promise<string> {
  await state.ready();
  const { namespace, name, schedule: cron, timeZone, atMs } = tick;
  const route = state.table.route(namespace, name);
  const target = route && pickTarget(route, state.random.fraction());
  if (!route || !target) {
    const attempted = `run ${name} by its schedule`;
    throw new IsolaError("FUNCTION_NOT_FOUND", { attempted, found: "no such function any more" });
  }
  const url = `http://${name}.${namespace}.localhost/`;
  const request = new Request(url, {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": keyOf(tick) },
    body: JSON.stringify({ cron, timeZone, scheduledTime: atMs }),
  });
  const response = await startRun(state, request, {
    route,
    target,
    row: state.table.namespace(namespace),
    url,
    prefix: "",
    showsThrown: true,
    hidesToken: true,
  });
  return response.headers.get("x-run-id") ?? "";
}

function keyOf({ schedule, timeZone, atMs }: Tick): string {
  return `cron ${schedule} ${timeZone} ${new Date(atMs).toISOString()}`;
}

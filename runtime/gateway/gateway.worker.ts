/**
 * The gateway's parts and how they hang together: one of each per isolate, made by the first
 * event. Both forms, host and collapsed, go through here.
 */
import { CELL_CONTROL } from "../contract/index.ts";
import { HOST_CONTROL, PROBATION_SLOT } from "../contract/index.ts";
import { askHost } from "./ask-host.worker.ts";
import type { GatewayBindings } from "./bindings.worker.ts";
import type { ControlParts } from "./control.worker.ts";
import { Dispatcher } from "./dispatcher.worker.ts";
import { gatewayState } from "./state.worker.ts";
import { StoreMeter } from "./store-meter.worker.ts";

let parts: ControlParts | undefined;

/** `bindings` count at the first call only. */
export function gatewayOf(bindings: () => GatewayBindings): ControlParts {
  parts ??= compose(bindings());
  return parts;
}

function compose(bindings: GatewayBindings): ControlParts {
  const state = gatewayState(bindings);
  const dispatcher = new Dispatcher({
    pool: state.cells,
    clock: state.clock,
    cell: (slot) => bindings.cell(slot),
    isDead: (slot) => refuses(bindings.control(slot)),
    restartProbation: async () => {
      const slot = { slot: PROBATION_SLOT };
      await askHost(state, HOST_CONTROL.restart, slot, "start the probation cell anew");
    },
    isQuarantined: (namespace, name, version) =>
      state.table
        .route(namespace, name)
        ?.targets.some((target) => target.version === version && target.quarantined) ?? false,
  });
  state.load = () => ({
    inFlight: dispatcher.inFlight.size,
    queued: dispatcher.admission.queued,
    isDraining: dispatcher.isDraining,
  });
  const store = new StoreMeter(state);
  state.meterStore = () => store.settle();
  return { state, dispatcher, store };
}

/** Longest that a slow cell is waited for; it is not dead then. */
const PING_BOUND_MS = 500;

/** True if the connection itself fails: a process that is busy answers late, a dead one not. */
async function refuses(control: Fetcher): Promise<boolean> {
  const signal = AbortSignal.timeout(PING_BOUND_MS);
  try {
    const response = await control.fetch(`http://cell${CELL_CONTROL.ping}`, { signal });
    await response.body?.cancel();
    return false;
  } catch {
    return !signal.aborted;
  }
}

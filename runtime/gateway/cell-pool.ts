/**
 * Which cells there are, which are up, and which a namespace may use. Pure: the host's reports
 * and the dispatcher's own observations in, slots out.
 *
 * P1 A namespace with dedicated cells never gets a shared one, nor another's.
 * P2 A slot is offered only while it is up; what the dispatcher found dead stays down until the
 *    host reports a newer process there.
 */
import {
  type CellInfo,
  type CellsReport,
  type NamespaceRoute,
  PROBATION_SLOT,
} from "../contract/index.ts";

/** Cells that may run the same calls: `shared`, `probation`, or a namespace of its own. */
export type CellGroup = string;

export const SHARED_GROUP: CellGroup = "shared";
export const PROBATION_GROUP: CellGroup = "probation";

export function groupOf(row: NamespaceRoute | undefined): CellGroup {
  return row?.cells === "dedicated" ? `dedicated:${row.namespace}` : SHARED_GROUP;
}

interface Slot {
  info: CellInfo;
  /** Process that the dispatcher lost a connection to; the slot is down while it is the same. */
  lostPid: number | undefined;
}

type Waiter = () => void;

export class CellPool {
  readonly #slots = new Map<number, Slot>();
  #waiters: Waiter[] = [];

  /** Takes the host's view whole. */
  apply(report: CellsReport): void {
    const seen = new Set<number>();
    for (const info of report.cells) {
      seen.add(info.slot);
      const known = this.#slots.get(info.slot);
      const lostPid = known?.lostPid === info.pid ? known?.lostPid : undefined;
      this.#slots.set(info.slot, { info, lostPid });
    }
    for (const slot of this.#slots.keys()) if (!seen.has(slot)) this.#slots.delete(slot);
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  /** Process that answers at the slot, as the host last said. */
  pidOf(slot: number): number | undefined {
    return this.#slots.get(slot)?.info.pid;
  }

  /** A process of the slot is dead: the slot is not offered until the host names another. */
  markLost(slot: number, pid = this.pidOf(slot)): void {
    const known = this.#slots.get(slot);
    if (known) known.lostPid = pid;
  }

  isUp(slot: number): boolean {
    const known = this.#slots.get(slot);
    return known !== undefined && isUp(known);
  }

  /** Slots of a group that are up. */
  upSlots(group: CellGroup): number[] {
    const slots: number[] = [];
    for (const [slot, known] of this.#slots) {
      if (groupOfInfo(known.info) === group && isUp(known)) slots.push(slot);
    }
    return slots;
  }

  /** True if the group has cells at all, up or not. */
  hasGroup(group: CellGroup): boolean {
    for (const { info } of this.#slots.values()) if (groupOfInfo(info) === group) return true;
    return false;
  }

  /** Every slot that is up, the probation cell included. */
  liveSlots(): number[] {
    return [...this.#slots].filter(([, known]) => isUp(known)).map(([slot]) => slot);
  }

  /** Slots, up or not, that run a namespace's calls; probation is not among them. */
  slotsOf(row: NamespaceRoute | undefined): number[] {
    const group = groupOf(row);
    return [...this.#slots]
      .filter(([, { info }]) => groupOfInfo(info) === group)
      .map(([slot]) => slot);
  }

  infos(): CellInfo[] {
    return [...this.#slots.values()].map(({ info, lostPid }) =>
      lostPid !== undefined && info.state === "up" ? { ...info, state: "down" } : info,
    );
  }

  /** Resolves at the next report. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }
}

function isUp({ info, lostPid }: Slot): boolean {
  return info.state === "up" && (lostPid === undefined || lostPid !== info.pid);
}

export function groupOfInfo(info: CellInfo): CellGroup {
  if (info.slot === PROBATION_SLOT || info.role === "probation") return PROBATION_GROUP;
  return info.role === "dedicated" ? `dedicated:${info.namespace ?? ""}` : SHARED_GROUP;
}

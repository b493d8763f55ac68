/** Which slot belongs to whom. Pure. */
import { IsolaError, LIMITS } from "../contract/index.ts";

/** Slots of namespaces with cells of their own. */
export type DedicatedSlots = ReadonlyMap<string, readonly number[]>;

/**
 * Gives a namespace `count` cells: keeps those it has, takes the lowest free ones, gives back the
 * highest. Errors: CAPACITY if not enough slots are free; nothing changes then.
 */
export function dedicateSlots(
  dedicated: DedicatedSlots,
  sharedCells: number,
  namespace: string,
  count: number,
): DedicatedSlots {
  const own = dedicated.get(namespace) ?? [];
  const taken = new Set([...dedicated.values()].flat());
  const free: number[] = [];
  for (let slot = sharedCells; slot < LIMITS.cellSlots; slot += 1) {
    if (!taken.has(slot)) free.push(slot);
  }
  const wanted = [...own, ...free].slice(0, count);
  if (wanted.length < count) {
    throw new IsolaError("CAPACITY", {
      attempted: `give namespace ${JSON.stringify(namespace)} ${count} cells of its own`,
      found: `${free.length} free slots of ${LIMITS.cellSlots}`,
      required: `${count - own.length} more`,
      fix: "start with fewer shared cells, or remove a dedicated namespace",
      retryAfterSeconds: 60,
    });
  }
  const next = new Map(dedicated);
  if (wanted.length === 0) next.delete(namespace);
  else next.set(namespace, wanted);
  return next;
}

/** Reads what `writeDedicated` wrote; slots that are shared now, or doubly given, are dropped. */
export function parseDedicated(text: string | undefined, sharedCells: number): DedicatedSlots {
  const dedicated = new Map<string, readonly number[]>();
  const seen = new Set<number>();
  let table: unknown;
  try {
    table = JSON.parse(text ?? "{}");
  } catch {
    // The gateway asks again for every namespace that it knows.
    return dedicated;
  }
  for (const [namespace, slots] of Object.entries(table as Record<string, unknown>)) {
    if (!Array.isArray(slots)) continue;
    const usable = slots.filter(
      (slot): slot is number =>
        Number.isInteger(slot) && slot >= sharedCells && slot < LIMITS.cellSlots && !seen.has(slot),
    );
    for (const slot of usable) seen.add(slot);
    if (usable.length > 0) dedicated.set(namespace, usable);
  }
  return dedicated;
}

export function formatDedicated(dedicated: DedicatedSlots): string {
  return `${JSON.stringify(Object.fromEntries(dedicated))}\n`;
}

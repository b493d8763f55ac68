/**
 * Schedules of functions, and their ticks.
 *
 * T1 The schedules of a function are those of its version with most traffic; they change with it,
 *    in the same transaction. One that stays keeps its next tick.
 * T2 A tick is told until it is ended, always under the same name: its schedule and the time at
 *    which it was due. So a run that began and was not noted is found again, not begun twice.
 * T3 Ticks that nobody could see to are one, the first of them; the next comes after now.
 */
import { type ScheduleSummary, nextTickMs } from "../contract/index.ts";
import { requireNamespace } from "./namespaces.ts";
import type { EndedTick, Key, Tick } from "./operations.ts";
import { storedConfig, storedTraffic } from "./routes.ts";
import { STATEMENTS, type ScheduleRow } from "./schema.ts";
import type { Scope } from "./scope.ts";
import type { Database } from "./sql.ts";
import { primaryVersion } from "./traffic.ts";

/** Brings the schedules of a function, or of one that is no more, up to date (T1). */
export function putSchedules({ db, nowMs }: Scope, { namespace, name }: Key): void {
  const row = db.first(STATEMENTS.functionGet, namespace, name);
  const version = row && primaryVersion(storedTraffic(row));
  const live =
    version === undefined ? undefined : db.first(STATEMENTS.versionGet, namespace, name, version);
  const wanted = live ? storedConfig(live).cron : [];
  const known = db.all(STATEMENTS.schedulesOf, namespace, name);
  for (const { schedule, timeZone } of known) {
    if (wanted.some((one) => one.schedule === schedule && one.timeZone === timeZone)) continue;
    db.all(STATEMENTS.scheduleDelete, namespace, name, schedule, timeZone);
  }
  for (const one of wanted) {
    const { schedule, timeZone } = one;
    const nextAtMs = nextTickMs(one, nowMs) ?? null;
    db.all(STATEMENTS.scheduleInsert, namespace, name, schedule, timeZone, nextAtMs);
  }
}

export function listSchedules(db: Database, input: { namespace: string }): ScheduleSummary[] {
  requireNamespace(db, input.namespace);
  return db.all(STATEMENTS.scheduleList, input.namespace).map(summary);
}

export function schedulesOf(db: Database, { namespace, name }: Key): ScheduleSummary[] {
  return db.all(STATEMENTS.schedulesOf, namespace, name).map(summary);
}

export function dueTicks(db: Database, nowMs: number, limit: number): Tick[] {
  return db.all(STATEMENTS.schedulesDue, nowMs, limit).flatMap((row) => {
    const { namespace, name, schedule, timeZone, nextAtMs } = row;
    return nextAtMs === null ? [] : [{ namespace, name, schedule, timeZone, atMs: nextAtMs }];
  });
}

export function nextTick(db: Database): number | null {
  return db.first(STATEMENTS.scheduleNext)?.nextAtMs ?? null;
}

/** T2, T3. */
export function endTicks(
  { db, nowMs }: Scope,
  { ticks }: { readonly ticks: readonly EndedTick[] },
): null {
  for (const tick of ticks) {
    const { namespace, name, schedule, timeZone, atMs, run, error } = tick;
    const nextAtMs = nextTickMs(tick, Math.max(nowMs, atMs)) ?? null;
    const key = [namespace, name, schedule, timeZone] as const;
    db.all(STATEMENTS.scheduleTicked, nextAtMs, atMs, run, error, ...key, atMs);
  }
  return null;
}

function summary(row: ScheduleRow): ScheduleSummary {
  const { name, schedule, timeZone, nextAtMs, lastAtMs, lastRun, lastError } = row;
  return { function: name, schedule, timeZone, nextAtMs, lastAtMs, lastRun, lastError };
}

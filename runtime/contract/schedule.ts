/**
 * Schedules: cron expressions of five fields, or six with seconds, in an IANA time zone.
 *
 * Where clocks go forward, what was to run in the hour that is left out runs right after it; where
 * they go back, what is to run at one time of day runs once, and what runs at intervals goes on.
 */
import { Cron } from "croner";

export interface Schedule {
  readonly schedule: string;
  readonly timeZone: string;
}

const EXPRESSION_MAX_CHARACTERS = 100;
const FIELDS = /^(?:@[a-z]+|\S+(?:\s+\S+){4,5})$/;

/** What is required of a schedule that is none; undefined if it is one. */
export function scheduleFault({ schedule, timeZone }: Schedule): string | undefined {
  if (!isTimeZone(timeZone)) return "a time zone by its IANA name, such as Europe/Berlin";
  const required = 'a cron expression of five or six fields, such as "*/5 * * * *"';
  if (schedule.length > EXPRESSION_MAX_CHARACTERS || !FIELDS.test(schedule)) return required;
  try {
    const next = nextTickMs({ schedule, timeZone }, 0);
    return next === undefined ? "a schedule that comes round" : undefined;
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message.replace(/^CronPattern: /, "") : "";
    return `${required} (${reason})`;
  }
}

/** The first tick after that time; undefined if there is none any more. Throws for no schedule. */
export function nextTickMs({ schedule, timeZone }: Schedule, afterMs: number): number | undefined {
  // Without a function to call it only computes: no timer is set.
  const options = { timezone: timeZone, paused: true, mode: "5-or-6-parts" } as const;
  const next = new Cron(schedule, options).nextRun(new Date(afterMs));
  return next?.getTime();
}

function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).format(0) !== "";
  } catch {
    return false;
  }
}

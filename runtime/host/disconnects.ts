/**
 * Clients that closed their side of a connection. workerd does not notice a FIN while an answer is
 * pending; the kernel's table shows it as CLOSE_WAIT.
 */
import { readHalfClosed } from "./proc.ts";
import type { Cancel, Timers } from "./system-timers.ts";

const PERIOD_MS = 500;
/** A connection is reported this often: the gateway may learn of its call only after the first. */
const REPORTS = 3;

export function watchDisconnects(
  timers: Timers,
  listener: { readonly host: string; readonly port: number },
  report: (clients: readonly string[]) => void,
): Cancel {
  let seen = new Map<string, number>();
  return timers.every(PERIOD_MS, () => {
    const now = new Map<string, number>();
    for (const client of readHalfClosed(listener.host, listener.port))
      now.set(client, (seen.get(client) ?? 0) + 1);
    seen = now;
    const fresh = [...now].filter(([, times]) => times <= REPORTS).map(([client]) => client);
    if (fresh.length > 0) report(fresh);
  });
}

/**
 * Followed logs as server-sent events.
 *
 * F1 What is kept comes first, then every new line, with nothing lost or twice in between: both
 *    are arranged without a pause.
 * F2 Other requests feed the stream. workerd cancels a request that waits for nothing of its own
 *    as hung, so this one holds a timer, which also tells a client that is gone.
 * F3 A client that does not read costs a bounded queue; what it missed is said in a line.
 */
import type { LogLine } from "../contract/index.ts";
import type { TelemetryLimits } from "./limits.ts";
import { every } from "./system-interval.worker.ts";
import type { LogFilter, LogQuery, TelemetryHub } from "./telemetry-hub.ts";

/** Kept lines to begin with are chosen by `after` (Last-Event-ID) or `sinceMs`. */
export type LogStreamQuery = LogFilter & Pick<LogQuery, "after" | "sinceMs" | "limit">;

/** A response of text/event-stream that ends when the client goes. Errors: `CAPACITY`. */
export function streamLogs(
  hub: TelemetryHub,
  query: LogStreamQuery,
  limits: Pick<TelemetryLimits, "followerLagLines" | "followerBeatMs">,
): Response {
  const encoder = new TextEncoder();
  const { lines, cursors } = hub.logs.query(query);
  let end: (() => void) | undefined;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      let missed = 0;
      const put = (text: string): void => controller.enqueue(encoder.encode(text));
      const tell = (line: LogLine, cursor: string): void => {
        if ((controller.desiredSize ?? 0) < -limits.followerLagLines) {
          missed += 1;
          return;
        }
        if (missed > 0) put(eventOf(missedLine(line, missed), ""));
        missed = 0;
        put(eventOf(line, cursor));
      };
      for (const [index, line] of lines.entries()) put(eventOf(line, cursors[index] ?? ""));
      // A comment: the client knows at once that it is connected.
      put(":\n\n");
      const stop = hub.logs.follow(query, tell);
      const rest = every(limits.followerBeatMs, () => {
        try {
          put(":\n\n");
        } catch {
          end?.();
        }
      });
      end = () => {
        stop();
        rest();
      };
    },
    cancel() {
      end?.();
    },
  });
  const headers = { "content-type": "text/event-stream", "cache-control": "no-store" };
  return new Response(body, { headers });
}

function eventOf(line: LogLine, cursor: string): string {
  const id = cursor === "" ? "" : `id: ${cursor}\n`;
  return `${id}data: ${JSON.stringify(line)}\n\n`;
}

function missedLine(line: LogLine, missed: number): LogLine {
  const text = `${missed} lines were dropped: this reader is too slow`;
  return { ...line, callId: "", level: "warn", text };
}

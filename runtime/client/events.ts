/**
 * Server-sent events, resumed where they broke off.
 *
 * 1. Every event is yielded once: a new connection names the last id it has seen.
 * 2. A refusal (4xx) ends the stream; a broken connection does not.
 */
import { IsolaError } from "../contract/index.ts";

export interface ServerEvent {
  readonly id: string;
  readonly event: string;
  readonly data: string;
}

export interface FollowOptions {
  /** Opens a connection after the event `lastId`, which is empty at first. */
  open(lastId: string): Promise<Response>;
  /** Waits between two connections. */
  sleep(delayMs: number): Promise<void>;
  readonly signal?: AbortSignal | undefined;
}

const FIRST_DELAY_MS = 100;
const LAST_DELAY_MS = 5_000;

/** Events until the signal aborts or the server refuses. */
export async function* followEvents(options: FollowOptions): AsyncGenerator<ServerEvent> {
  let lastId = "";
  let delayMs = FIRST_DELAY_MS;
  for (;;) {
    try {
      const response = await options.open(lastId);
      for await (const event of readEvents(response)) {
        delayMs = FIRST_DELAY_MS;
        if (event.id !== "") lastId = event.id;
        yield event;
      }
    } catch (error) {
      if (options.signal?.aborted === true) return;
      if (error instanceof IsolaError && !error.retryable) throw error;
    }
    if (options.signal?.aborted === true) return;
    await options.sleep(delayMs);
    delayMs = Math.min(delayMs * 2, LAST_DELAY_MS);
  }
}

/** The events of one response. */
export async function* readEvents(response: Response): AsyncGenerator<ServerEvent> {
  if (response.body === null) return;
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const blocks = rest.split(/\r?\n\r?\n/);
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const event = parseEvent(block);
        if (event !== undefined) yield event;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** One block of lines; undefined for comments, which keep the connection open. */
export function parseEvent(block: string): ServerEvent | undefined {
  let [id, event] = ["", "message"];
  const data: string[] = [];
  for (const line of block.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const value = line.slice(colon + 1).replace(/^ /, "");
    switch (line.slice(0, colon)) {
      case "id":
        id = value;
        break;
      case "event":
        event = value;
        break;
      case "data":
        data.push(value);
        break;
      default:
        break;
    }
  }
  return data.length === 0 ? undefined : { id, event, data: data.join("\n") };
}

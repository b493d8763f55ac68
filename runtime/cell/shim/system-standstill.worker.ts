/**
 * The isolate's clock, chance and network while a definition is evaluated: the clock stands still,
 * chance is seeded, nothing leaves. In one turn, since it is the globals that are replaced.
 */
import { IsolaError } from "../../contract/index.ts";
import { NativeDate } from "./natives.worker.ts";

interface Moment {
  readonly id: string;
  readonly startedAtMs: number;
}

/** @param noticed is called when the body looks at clock or chance. */
export function standingStill<T>(
  { id, startedAtMs }: Moment,
  noticed: () => void,
  body: () => T,
): T {
  const scope = globalThis as unknown as { Date: unknown; fetch: unknown };
  const { Date: date, fetch: network } = scope;
  const { random } = Math;
  try {
    scope.Date = standingClock(startedAtMs, noticed);
    scope.fetch = () => Promise.reject(noNetwork());
    Math.random = seeded(id, noticed);
    return body();
  } finally {
    scope.Date = date;
    scope.fetch = network;
    Math.random = random;
  }
}

function standingClock(atMs: number, noticed: () => void): typeof Date {
  const now = (): number => {
    noticed();
    return atMs;
  };
  return new Proxy(NativeDate, {
    apply: () => new NativeDate(now()).toString(),
    construct: (target, args: [], newTarget) =>
      Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as Date,
    get: (target, key): unknown => (key === "now" ? now : Reflect.get(target, key)),
  });
}

/** The same numbers for the same run (FNV-1a, mulberry32). */
function seeded(text: string, noticed: () => void): () => number {
  let state = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) {
    state = Math.imul(state ^ text.charCodeAt(at), 0x01000193);
  }
  return () => {
    noticed();
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function noNetwork(): IsolaError {
  return new IsolaError("EGRESS_DENIED", {
    attempted: "fetch in the definition of a workflow",
    found: "a definition, which reaches nothing",
    required: "a step that fetches",
  });
}

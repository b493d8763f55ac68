/**
 * What the workflow of the differential test does, by the name that its payload says: each routine
 * takes a part of Cloudflare's API as its documentation has it, and answers what it saw.
 */
import type { WorkflowEvent, WorkflowStep } from "cloudflare:workers";
import { NonRetryableError } from "cloudflare:workflows";

export interface Asked {
  readonly routine: string;
}

/** Keeps what a rollback was called with: it runs after the routine has ended. */
export type Note = (id: string, entry: unknown) => Promise<unknown>;

type Routine = (
  step: WorkflowStep,
  event: Readonly<WorkflowEvent<Asked>>,
  note: Note,
) => Promise<unknown>;

/** Fast, so that nobody waits for the documented ten seconds. */
const QUICK = { retries: { limit: 2, delay: 10, backoff: "constant" } } as const;
const ONCE = { retries: { limit: 0, delay: 0 } } as const;

const seen = (thrown: unknown): unknown =>
  thrown instanceof Error ? [thrown.name, thrown.message] : ["no error", String(thrown)];

const caught = async (work: () => Promise<unknown>): Promise<unknown> => work().catch(seen);

function undo(
  note: Note,
  id: string,
  more: (given: { readonly attempt: number }) => void = () => undefined,
) {
  let attempt = 0;
  return async (given: object): Promise<void> => {
    attempt += 1;
    const { ctx, error, output, stepName } = given as Record<string, unknown>;
    const { step } = ctx as { readonly step: unknown };
    const { name } = error as Error;
    await note(id, { step, name, output: output ?? null, stepName, attempt });
    more({ attempt });
  };
}

const readOctets = async (): Promise<never> =>
  Promise.resolve(new Response("octets").body as never);

const refuse = async (): Promise<never> => Promise.reject(new TypeError("no"));

function twice({ attempt }: { readonly attempt: number }): void {
  if (attempt < 2) throw new Error("not yet");
}

function never(): never {
  throw new Error("never");
}

/** A step with options that the types would not let through. */
const anyway = (step: WorkflowStep) =>
  step as unknown as Record<string, (...all: unknown[]) => Promise<unknown>>;

export const ROUTINES: Readonly<Record<string, Routine>> = {
  event: async (_step, event) =>
    Promise.resolve({
      payload: event.payload,
      isDate: event.timestamp instanceof Date,
      instanceId: event.instanceId,
      workflowName: event.workflowName,
    }),
  nonRetryable: async () =>
    Promise.resolve([
      seen(new NonRetryableError("one")),
      seen(new NonRetryableError("two", "Own")),
      new NonRetryableError("three") instanceof Error,
    ]),
  durations: async (step) => {
    await step.sleep("number", 5);
    for (const unit of ["millisecond", "second", "seconds"] as const) {
      await step.sleep(`one ${unit}`, `${unit === "millisecond" ? 5 : 0} ${unit}` as "0 second");
    }
    return caught(async () => step.sleep("bad", "soon" as unknown as number));
  },
  values: async (step) => {
    const date = await step.do("date", async () => Promise.resolve(new Date(5)));
    const map = await step.do("map", async () => Promise.resolve(new Map([["a", 1]])) as never);
    const octets = await step.do("octets", async () => Promise.resolve(new Uint8Array([1, 2])));
    const nothing = await step.do("nothing", async () => Promise.resolve());
    const nested = await step.do("nested", async () => Promise.resolve({ a: [1, null, "x"] }));
    return [
      date instanceof Date && date.getTime(),
      [...(map as unknown as Map<string, number>)],
      [...new Uint8Array(octets)],
      nothing === undefined,
      nested,
    ];
  },
  stream: async (step) => {
    const stream = (await step.do("stream", readOctets)) as unknown as ReadableStream;
    return [stream instanceof ReadableStream, await new Response(stream).text()];
  },
  context: async (step) => {
    const contexts: unknown[] = [];
    const note = async (context: object): Promise<void> => {
      const { step: of, attempt, config } = context as Record<string, unknown>;
      contexts.push({ of, attempt, config });
      return Promise.resolve();
    };
    await anyway(step)["do"]?.("same", note);
    await anyway(step)["do"]?.("same", { ...QUICK, timeout: "1 minute" }, note);
    await anyway(step)["do"]?.("same", { retries: { limit: 1, delay: () => 1 } }, note);
    return contexts;
  },
  retries: async (step) => {
    let attempts = 0;
    const error = await caught(async () =>
      step.do("fails", QUICK, async () => {
        attempts += 1;
        return Promise.reject(new TypeError(`attempt ${String(attempts)}`));
      }),
    );
    const healed = await step.do("heals", QUICK, async (context) => {
      const { attempt } = context as { readonly attempt: number };
      if (attempt < 3) throw new Error("again");
      return Promise.resolve(attempt);
    });
    return [error, attempts, healed];
  },
  thrown: async (step) =>
    Promise.all([
      caught(async () => step.do("text", ONCE, async () => Promise.reject("a text"))),
      caught(async () => step.do("range", ONCE, async () => Promise.reject(new RangeError("no")))),
    ]),
  final: async (step) => {
    let attempts = 0;
    const error = await caught(async () =>
      step.do("final", QUICK, async () => {
        attempts += 1;
        return Promise.reject(new NonRetryableError("never again"));
      }),
    );
    return [error, attempts];
  },
  finalUncaught: async (step) =>
    step.do("final", QUICK, async () => Promise.reject(new NonRetryableError("never again"))),
  uncaught: async (step) => step.do("fails", ONCE, async () => Promise.reject(new TypeError("no"))),
  unknownOption: async (step) =>
    caught(async () => anyway(step)["do"]?.("x", { retry: 1 }, () => 1) ?? 0),
  zeroTimeout: async (step) =>
    caught(async () => anyway(step)["do"]?.("x", { timeout: 0 }, () => 1) ?? 0),
  noCallback: async (step) => caught(async () => anyway(step)["do"]?.("x") ?? 0),
  badName: async (step) =>
    caught(async () => step.do("x".repeat(300), async () => Promise.resolve(1))),
  unserialisable: async (step) => {
    await anyway(step)["do"]?.("symbol", ONCE, () => Symbol("none"));
    return "went on";
  },
  timeout: async (step) =>
    caught(async () =>
      step.do("slow", { ...ONCE, timeout: 50 }, async () => new Promise<number>(() => {})),
    ),
  timeoutRetried: async (step) => {
    let attempts = 0;
    return step.do("slow", { ...QUICK, timeout: 500 }, async () => {
      attempts += 1;
      return attempts < 2 ? new Promise<number>(() => {}) : Promise.resolve(attempts);
    });
  },
  sensitive: async (step) =>
    anyway(step)["do"]?.("secret", { sensitive: "output" }, () => "kept from logs"),
  delayFunction: async (step) => {
    const asked: unknown[] = [];
    const delay = (given: unknown): number => {
      const { ctx, error } = given as { ctx: { attempt: number }; error: unknown };
      asked.push([ctx.attempt, seen(error)]);
      return 5;
    };
    const error = await caught(
      async () =>
        anyway(step)["do"]?.("fails", { retries: { limit: 1, delay } }, () => {
          throw new TypeError("no");
        }) ?? 0,
    );
    return [error, asked];
  },
  delayThrows: async (step) =>
    delayed(step, () => {
      throw new Error("no delay");
    }),
  delayInvalid: async (step) => delayed(step, () => "soon"),
  rollback: async (step, { instanceId: id }, note) => {
    await step.do("a", ONCE, async () => Promise.resolve("of a"), {
      rollback: undo(note, id),
    } as never);
    await step.do("b", ONCE, async () => Promise.resolve("of b"), {
      rollback: undo(note, id),
    } as never);
    return step.do("c", ONCE, refuse, { rollback: undo(note, id) } as never);
  },
  rollbackFails: async (step, { instanceId: id }, note) => {
    const rollbackConfig = { retries: { limit: 1, delay: 5 } };
    const options = (more: typeof twice | typeof never) =>
      ({ rollback: undo(note, id, more), rollbackConfig }) as never;
    await step.do("a", async () => Promise.resolve(1), options(twice));
    await step.do("b", async () => Promise.resolve(2), options(never));
    await step.do("c", async () => Promise.resolve(3), options(twice));
    throw new Error("now back");
  },
  rollbackWaits: async (step, { instanceId: id }, note) => {
    await step.do("a", async () => Promise.resolve("of a"), { rollback: undo(note, id) } as never);
    await step.waitForEvent("never", { type: "never", timeout: "1 hour" });
  },
  sleeps: async (step) => {
    const results: unknown[] = [await step.sleep("one", 10)];
    results.push(await step.sleepUntil("two", new Date(Date.now() + 600)));
    results.push(await step.sleepUntil("three", Date.now() + 600));
    results.push(await caught(async () => step.sleepUntil("past", new Date(Date.now() - 60_000))));
    return results.map((one) => one ?? null);
  },
  waits: async (step) => {
    const one = await step.waitForEvent<number>("one", { type: "go", timeout: "1 minute" });
    const two = await step.waitForEvent<number>("two", { type: "go", timeout: "1 minute" });
    const isDate = one.timestamp instanceof Date;
    return [one.payload, one.type, isDate, two.payload, Object.keys(one).sort()];
  },
  waitTimeout: async (step) =>
    caught(async () => step.waitForEvent("never", { type: "never", timeout: 30 })),
  race: async (step) =>
    Promise.race([
      step.sleep("long", "2 minutes").then(() => "slept"),
      step.waitForEvent("go", { type: "go", timeout: "1 hour" }).then(({ payload }) => payload),
    ]),
  parallel: async (step) => {
    const all = [1, 2, 3].map(async (n) =>
      step.do(`s${String(n)}`, async () => Promise.resolve(n * 2)),
    );
    return Promise.all(all);
  },
  loop: async (step) => {
    const results: number[] = [];
    for (let at = 0; at < 5; at += 1) {
      results.push(await step.do("same", async () => Promise.resolve(at)));
    }
    return results;
  },
  steps: async (step) => {
    const a = await step.do("a", async () => Promise.resolve(Math.random()));
    const b = await step.do("b", async () => Promise.resolve(Math.random()));
    return [a, b];
  },
};

async function delayed(step: WorkflowStep, delay: () => unknown): Promise<unknown> {
  const config = { retries: { limit: 1, delay } };
  return caught(async () => anyway(step)["do"]?.("fails", config, refuse) ?? 0);
}

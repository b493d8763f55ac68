/**
 * The store job of a run: what the coordinator tells it is part of the same commit as the journal.
 *
 * J1 A run has a job of its id from its first use of the store on, and none before: runs that use
 *    no store cost nothing. It ends in the commit of the run's end (G4); of a failed run it stays
 *    until the run is no longer kept, since that run may go on from where it stopped.
 * J2 What an attempt writes becomes visible with its step's result, or never (G2). From the moment
 *    it settles, and after a restart of the shard, nothing writes through it: ATTEMPT_ENDED.
 * J3 A value beyond what rides on calls is held by reference, in a bucket that no client can name
 *    (store/held.ts): synced before the event that refers to it, staged with its attempt.
 *    Those of a step marked `pure`, and under durability `run`, stay in memory up to half a MiB.
 *    One that is lost with it is made again by its producer (G5), a bounded number of times; what
 *    functions put by key never is.
 * J4 Input and result of a run are kept as long as the run; what went between its steps goes with
 *    the job.
 */
import {
  IsolaError,
  STORE_LIMITS,
  type StoreAttempt,
  type StoredValue,
  findUncloneable,
  sizeOfValue,
} from "../../contract/index.ts";
import type { Producer } from "../../../workflow/builder/index.ts";
import type { Held, Outcome, OutwardEffect, RunHome, RunStore } from "../../../workflow/index.ts";
import { HELD_BUCKET, type Session, type Store } from "../../../store/index.ts";
import { ofItsOwn, plainValue } from "../shard/stored-value.ts";

type Ended = Parameters<RunStore["end"]>[1];
/** Who a job is of. */
export type RunName = Pick<RunHome, "id" | "namespace">;
/** An attempt as it was dispatched; without more than its place, for what is put on disk anyway. */
export type AttemptPlace = Pick<Dispatched, "step" | "token"> & Partial<Dispatched>;
type Dispatched = Extract<OutwardEffect, { readonly do: "dispatch" }>;
/** Runs a pure step once more and answers its result. */
export type Remake = (by: Producer) => Promise<unknown>;

/** A value that waits for the commit of what refers to it. */
export interface Holding {
  readonly held: Held;
  /** In the tick of the event that refers to it. */
  keep(): void;
  /** Nothing refers to it after all. */
  drop(): void;
}

interface Attempt {
  readonly run: RunHome;
  readonly step: string;
  readonly isPure: boolean;
  session: Session | undefined;
  /** Of the values that the run holds, where the attempt made one. */
  holder: Session | undefined;
}

/** The largest that can be handed to a function, or come from one. */
const VALUE_MAX_BYTES = STORE_LIMITS.wholeMaxBytes - 64 * 1024;
const INPUT_KEY = "input";
/** Values of one run that are made again, since the shard opened. */
const REMAKES_MAX = 100;
/** Pure steps in a row whose results are in memory; the next one's is on disk. */
const PRODUCERS_MAX = 8;
const GONE: ReadonlySet<string> = new Set(["JOB_NOT_FOUND", "JOB_ENDED"]);
/** What is wrong with the value itself stays wrong, however often the step is tried. */
const UNFIT: ReadonlySet<string> = new Set(["BODY_TOO_LARGE", "VALUE_INVALID"]);

export class RunJobs implements RunStore {
  readonly #store: Store;
  /** Jobs that there are of runs. */
  readonly #jobs = new Set<string>();
  /** Attempts that may write, by run, then by step and token. */
  readonly #attempts = new Map<string, Map<string, Attempt>>();
  readonly #inlineMaxBytes: number;
  /** What is being made again, by reference; and how often it was, by run. */
  readonly #remaking = new Map<string, Promise<unknown>>();
  readonly #remakes = new Map<string, number>();
  #made = 0;

  /** @param inlineMaxBytes beyond it a value is held by reference. */
  constructor(store: Store, inlineMaxBytes: number = STORE_LIMITS.inlineMaxBytes) {
    this.#store = store;
    this.#inlineMaxBytes = inlineMaxBytes;
    for (const { id } of store.runJobs()) this.#jobs.add(id);
  }

  /** Jobs of runs that the coordinator does not have: a start that a crash cut short. */
  sweep(isKnown: (id: string) => boolean): void {
    for (const { id, namespace } of this.#store.runJobs()) {
      if (!isKnown(id)) this.forget({ id, namespace });
    }
  }

  begin(): void {
    // J1: made at the first use.
  }

  beginAnew(run: RunHome): void {
    this.#attempts.delete(run.id);
    // Its input is kept: it is what the run begins anew with.
    if (this.#jobs.has(run.id)) this.#ended(run);
  }

  settle(run: RunHome, step: string, token: number, isCommit: boolean): void {
    const attempts = this.#attempts.get(run.id);
    const key = keyOf({ step, token });
    const attempt = attempts?.get(key);
    if (!attempts || !attempt) return;
    attempts.delete(key);
    if (attempts.size === 0) this.#attempts.delete(run.id);
    for (const session of [attempt.session, attempt.holder]) {
      // A job that a client has ended has taken with it what was staged.
      if (isCommit && session?.isOpen === true) session.commit();
      else session?.abort();
    }
  }

  end(run: RunHome, { status, output }: Ended): void {
    this.#attempts.delete(run.id);
    this.#remakes.delete(run.id);
    if (!this.#jobs.has(run.id)) return;
    if (output) this.#keep(run, output);
    if (status !== "failed") this.#ended(run);
  }

  forget({ id, namespace }: RunName): void {
    this.#attempts.delete(id);
    this.#remakes.delete(id);
    if (!this.#jobs.delete(id)) return;
    quietly(() => this.#store.endJob(namespace, id));
    quietly(() => this.#store.dropHeld(namespace, id));
  }

  /** An attempt is made; until it settles it may use the run's job. */
  attempted(run: RunHome, { step, token, operation }: AttemptPlace): StoreAttempt {
    const attempts = this.#attempts.get(run.id) ?? new Map<string, Attempt>();
    this.#attempts.set(run.id, attempts);
    const isPure = operation?.op === "apply" && operation.pure === true;
    const attempt = { run, step, isPure, session: undefined, holder: undefined };
    attempts.set(keyOf({ step, token }), attempt);
    return { step, token, epoch: run.epoch, call: "" };
  }

  /** The job as an attempt uses it. Errors: `ATTEMPT_ENDED`, `JOB_ENDED`, `STORE_FULL`. */
  session(job: RunName, { step, token, epoch }: StoreAttempt): Session {
    const attempt = this.#attemptOf(job, { step, token, epoch });
    const { run, isPure } = attempt;
    this.#make(run);
    const isStrict = run.durability === "step" && !isPure;
    attempt.session ??= this.#store.attempt(run.namespace, run.id, step, isStrict);
    return attempt.session;
  }

  /** Errors: `ATTEMPT_ENDED`. */
  checkOpen(job: RunName, { step, token, epoch }: StoreAttempt): void {
    this.#attemptOf(job, { step, token, epoch });
  }

  /**
   * What an attempt answered, as its run goes on with it. A result that is no value, or too large,
   * fails the step; one that finds no room now fails the attempt.
   */
  async outcomeOf(run: RunHome, place: AttemptPlace, value: unknown): Promise<Outcome> {
    try {
      return { ok: true, output: await this.hold(run, value, place) };
    } catch (thrown) {
      if (!(thrown instanceof IsolaError)) throw thrown;
      const isUnfit = UNFIT.has(thrown.code);
      const code = isUnfit ? "RESULT_INVALID" : thrown.code;
      const message = `${thrown.parts.attempted}: ${thrown.parts.found}`;
      const error = { name: code, message, code, ...(isUnfit && { isFinal: true as const }) };
      return { ok: false, error };
    }
  }

  /**
   * A value as a run carries it: itself, or a reference to where it is synced. With `place` it is
   * staged with that attempt.
   *
   * Errors: `VALUE_INVALID`, `BODY_TOO_LARGE`, `STORE_FULL`, `ATTEMPT_ENDED`.
   */
  async hold(run: RunHome, value: unknown, place?: AttemptPlace): Promise<Held> {
    const stored = storedOf(value);
    if (!stored || stored.sizeBytes <= this.#inlineMaxBytes) return { value };
    const attempt = place && this.#attempts.get(run.id)?.get(keyOf(place));
    if (place && attempt?.run.epoch !== run.epoch) throw attemptEnded(run.id, place.step);
    this.#make(run);
    const session = attempt ? this.#holderOf(attempt) : this.#holder(run);
    this.#made += 1;
    const key = `${String(run.epoch)}-${String(this.#made)}`;
    const by = place && attempt?.isPure === true ? producerOf(place) : undefined;
    const mayBeLost = stored.sizeBytes <= STORE_LIMITS.rowMaxBytes;
    const isLoose = mayBeLost && (by !== undefined || run.durability === "run");
    await session.put(HELD_BUCKET, key, stored, { durability: isLoose ? "memory" : "disk" });
    const held = { ref: `${run.id}/${key}`, sizeBytes: stored.sizeBytes };
    return by && isLoose && run.durability === "step" ? { ...held, by } : held;
  }

  /** Input of a run that is to start; it is kept as long as the run. Errors: as `hold`. */
  async holdInput(run: RunHome, value: unknown): Promise<Holding> {
    const stored = storedOf(value);
    if (!stored || stored.sizeBytes <= this.#inlineMaxBytes) {
      return { held: { value }, keep: () => undefined, drop: () => undefined };
    }
    const isNew = !this.#jobs.has(run.id);
    this.#make(run);
    const session = this.#store.holder(run.namespace, run.id, INPUT_KEY);
    const drop = (): void => {
      session.abort();
      if (isNew) this.forget(run);
    };
    try {
      await session.put(HELD_BUCKET, INPUT_KEY, stored, { persist: true });
    } catch (thrown) {
      drop();
      throw thrown;
    }
    return { held: refTo(run.id, INPUT_KEY, stored), keep: () => void session.commit(), drop };
  }

  /**
   * The value that a run carries. Errors: `VALUE_LOST`, `COLD_UNAVAILABLE`.
   *
   * @param remake makes a lost one again, where its producer is known (G5).
   */
  async resolve(run: Pick<RunName, "namespace">, held: Held, remake?: Remake): Promise<unknown> {
    if ("value" in held) return held.value;
    if ("ref" in held) {
      const { ref, by } = held;
      if (!by || !remake) return this.#read(run.namespace, ref);
      try {
        return await this.#read(run.namespace, ref);
      } catch (thrown) {
        if (!(thrown instanceof IsolaError) || thrown.code !== "VALUE_LOST") throw thrown;
        return this.#remake(run, ref, () => remake(by), thrown);
      }
    }
    if ("slot" in held) throw new TypeError("a value that its hook has not made");
    const parts = held.parts.map(async ([key, part]): Promise<[string, unknown]> => [
      key,
      await this.resolve(run, part, remake),
    ]);
    return Object.fromEntries(await Promise.all(parts));
  }

  /** Once for whoever wants it, and found by those who want it later. */
  async #remake(
    { namespace }: Pick<RunName, "namespace">,
    ref: string,
    make: () => Promise<unknown>,
    loss: IsolaError,
  ): Promise<unknown> {
    const { job, key } = placeOf(ref);
    const known = this.#remaking.get(ref);
    if (known) return known;
    const remakes = (this.#remakes.get(job) ?? 0) + 1;
    if (remakes > REMAKES_MAX) throw loss;
    this.#remakes.set(job, remakes);
    const making = make().then(async (value) => {
      const stored = storedOf(value);
      // Of a run that has ended nothing is kept that was not kept before.
      if (stored && this.#isOpen(namespace, job)) {
        const session = this.#store.holder(namespace, job);
        await session.put(HELD_BUCKET, key, stored, { durability: "memory" });
      }
      return value;
    });
    this.#remaking.set(ref, making);
    try {
      return await making;
    } finally {
      this.#remaking.delete(ref);
    }
  }

  async #read(namespace: string, ref: string): Promise<unknown> {
    const { job, key } = placeOf(ref);
    let found: StoredValue | undefined;
    try {
      found = (await this.#store.holder(namespace, job).get(HELD_BUCKET, key)).value?.value;
    } catch (thrown) {
      if (!isGone(thrown)) throw thrown;
      throw new IsolaError("VALUE_LOST", {
        attempted: `read a value of the run ${job}`,
        found: "its run is no longer kept",
      });
    }
    if (!found) throw this.#store.heldGone(namespace, job, key);
    return plainValue(found);
  }

  #attemptOf(
    { id, namespace }: RunName,
    { step, token, epoch }: Pick<StoreAttempt, "step" | "token" | "epoch">,
  ): Attempt {
    const attempt = this.#attempts.get(id)?.get(keyOf({ step, token }));
    const isItsOwn = attempt?.run.namespace === namespace && attempt.run.epoch === epoch;
    if (attempt && isItsOwn) return attempt;
    throw attemptEnded(id, step);
  }

  /** Of what is lost already, what it can be made of again (G5). */
  #keep(run: RunHome, held: Held): void {
    if ("parts" in held) for (const [, part] of held.parts) this.#keep(run, part);
    if (!("ref" in held)) return;
    const { job, key } = placeOf(held.ref);
    let isKept = false;
    if (job === run.id) {
      quietly(() => (isKept = this.#store.keepHeld(run.namespace, job, key)));
    }
    if (!isKept && held.by) this.#keep(run, held.by.input);
  }

  #isOpen(namespace: string, id: string): boolean {
    let isOpen = false;
    quietly(() => {
      isOpen = this.#store.job(namespace, id).value.endedAtMs === undefined;
    });
    return isOpen;
  }

  #holderOf(attempt: Attempt): Session {
    const { run, step } = attempt;
    attempt.holder ??= this.#store.holder(run.namespace, run.id, step);
    return attempt.holder;
  }

  #holder(run: RunHome): Session {
    return this.#store.holder(run.namespace, run.id);
  }

  /** J1; also again, if the run goes on after its end. */
  #make({ id, namespace, workflow, durability }: RunHome): void {
    this.#store.reopenJob({
      id,
      namespace,
      name: workflow,
      kind: "run",
      durability: durability === "run" ? "memory" : "disk",
      workflow,
    });
    this.#jobs.add(id);
  }

  #ended({ id, namespace }: RunName): void {
    quietly(() => this.#store.endJob(namespace, id));
  }
}

/** As the store takes it; undefined for what is nothing and rides along. */
function storedOf(value: unknown): StoredValue | undefined {
  if (value === undefined) return undefined;
  if (value instanceof Uint8Array) {
    const octets = ofItsOwn(value);
    if (octets.byteLength <= VALUE_MAX_BYTES) {
      return { kind: "bytes", chunks: [octets], sizeBytes: octets.byteLength };
    }
    throw tooLarge(octets.byteLength);
  }
  const sizeBytes = sizeOfValue(value, VALUE_MAX_BYTES);
  if (sizeBytes > VALUE_MAX_BYTES) throw tooLarge(sizeBytes);
  const found = findUncloneable(value);
  if (!found) return { kind: "value", value, sizeBytes };
  throw new IsolaError("VALUE_INVALID", {
    attempted: "keep a value of a run",
    found: `${found.kind} at ${found.path}`.slice(0, 300),
    required: "structured-clonable data without functions, or bytes",
  });
}

function refTo(job: string, key: string, { sizeBytes }: StoredValue): Held {
  return { ref: `${job}/${key}`, sizeBytes };
}

/** How to make the result again; undefined if too much would have to be. */
function producerOf({ step, operation, pin, input, idempotencyKey }: AttemptPlace) {
  if (operation?.op !== "apply" || !input || idempotencyKey === undefined) return undefined;
  if (producersIn(input) >= PRODUCERS_MAX) return undefined;
  return { step, operation, ...(pin && { pin }), input, idempotencyKey } satisfies Producer;
}

function producersIn(held: Held): number {
  if ("ref" in held) return held.by ? 1 + producersIn(held.by.input) : 0;
  if (!("parts" in held)) return 0;
  // Side by side they count together: each would be made again.
  return held.parts.reduce((sum, [, part]) => sum + producersIn(part), 0);
}

function placeOf(ref: string): { readonly job: string; readonly key: string } {
  const at = ref.indexOf("/");
  return { job: ref.slice(0, at), key: ref.slice(at + 1) };
}

function keyOf({ step, token }: { readonly step: string; readonly token: number }): string {
  return `${String(token)} ${step}`;
}

/** Who ended a job first is not asked: a client may. */
function quietly(work: () => unknown): void {
  try {
    work();
  } catch (thrown) {
    if (!isGone(thrown)) throw thrown;
  }
}

function isGone(thrown: unknown): boolean {
  return thrown instanceof IsolaError && GONE.has(thrown.code);
}

function attemptEnded(run: string, step: string): IsolaError {
  return new IsolaError("ATTEMPT_ENDED", {
    attempted: `use the store of the run ${run}`,
    found: `an attempt of ${step} that is over`,
  });
}

function tooLarge(sizeBytes: number): IsolaError {
  return new IsolaError("BODY_TOO_LARGE", {
    attempted: "keep a value of a run",
    found: `about ${String(sizeBytes)} bytes or more`,
    required: `at most ${String(VALUE_MAX_BYTES)} bytes`,
    fix: "Put it into ctx.store as a stream, and pass its key on.",
  });
}

/**
 * What leaves a shard, behind the commit that it depends on and in order (K1): effects of runs,
 * callbacks that are due, events that steps have sent. Calls of hooks wait for no commit: hooks are
 * pure and may repeat, and what they answer is committed with what they were asked about (G2).
 */
import { Callbacks } from "./callbacks.ts";
import type {
  CallbackOptions,
  CoordinatorSeams,
  OutwardEffect,
  RunHome,
  RunRequest,
} from "./model.ts";
import { type DueMail, Mails } from "./mails.ts";
import { STATEMENTS } from "./schema.ts";

interface RunDeparture {
  readonly run: RunHome;
  readonly request: RunRequest;
  readonly effect: OutwardEffect;
}

type Departure = { readonly position: number } & (RunDeparture | { readonly due: DueMail });

export class Departures {
  /** Who is owed the end of a run. */
  readonly callbacks: Callbacks;
  readonly mails: Mails;
  readonly #seams: CoordinatorSeams;
  readonly #epoch: number;
  #waiting: Departure[] = [];
  #hooks: RunDeparture[] = [];
  /** Position whose commit is waited for. */
  #awaited = 0;

  constructor(seams: CoordinatorSeams, epoch: number, options: CallbackOptions) {
    this.#seams = seams;
    this.#epoch = epoch;
    this.callbacks = new Callbacks(seams.sql, options);
    this.mails = new Mails(seams.sql, seams.codec);
  }

  add(run: RunHome, request: RunRequest, effect: OutwardEffect): void {
    if (effect.do === "hooks") {
      this.#hooks.push({ run, request, effect });
      return;
    }
    this.#waiting.push({ position: this.#seams.log.position, run, request, effect });
  }

  /** A transition ends: what it made, and what is due, leaves after the commit. */
  settle(): void {
    const { log, clock } = this.#seams;
    if (this.#hooks.length > 0) void this.#callHooks();
    const nowMs = clock.now();
    for (const { number, attempt } of this.callbacks.launch(nowMs)) this.#callBack(number, attempt);
    for (const due of this.mails.launch(nowMs)) {
      this.#waiting.push({ position: log.position, due });
    }
    const last = this.#waiting.at(-1);
    if (!last || last.position <= this.#awaited) return;
    this.#awaited = last.position;
    // A commit that fails ends the actor, and everything that waits here with it.
    log.committed(last.position).then(
      () => {
        this.#leave();
      },
      () => undefined,
    );
  }

  /** Earliest time at which something of it is due. */
  get nextAtMs(): number | undefined {
    const times = [this.callbacks.nextAtMs, this.mails.nextAtMs];
    const known = times.filter((atMs) => atMs !== undefined);
    return known.length === 0 ? undefined : Math.min(...known);
  }

  /** Something is under way that nobody knows of after a restart. */
  get isBusy(): boolean {
    return this.callbacks.isBusy || this.mails.isBusy;
  }

  #callBack(number: number, attempt: number): void {
    const { sql, codec, log } = this.#seams;
    const [row] = sql.all(STATEMENTS.runByNumber, number);
    if (!row) return;
    const request = codec.decode(row.request) as RunRequest;
    const { callback } = request;
    if (!callback) return;
    const { id, namespace, workflow } = row;
    const run = { id, namespace, workflow, epoch: this.#epoch, durability: "step" } as const;
    const effect = { do: "callback", callback, attempt } as const;
    this.#waiting.push({ position: log.position, run, request, effect });
  }

  /** When the transition is over, as all that leaves. */
  async #callHooks(): Promise<void> {
    const hooks = this.#hooks;
    this.#hooks = [];
    await Promise.resolve();
    const { outside } = this.#seams;
    for (const { run, request, effect } of hooks) outside.perform(run, request, effect);
  }

  #leave(): void {
    const { log, outside } = this.#seams;
    const { durable } = log;
    const leaving = this.#waiting.filter(({ position }) => position <= durable);
    this.#waiting = this.#waiting.filter(({ position }) => position > durable);
    for (const one of leaving) {
      if ("due" in one) outside.deliver?.(one.due.mail, one.due.number);
      else outside.perform(one.run, one.request, one.effect);
    }
  }
}

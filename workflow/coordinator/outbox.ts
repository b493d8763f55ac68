/**
 * What leaves the shard: each effect behind the commit that it depends on, in order (K1, G9).
 */
import type { Log } from "../../runtime/contract/index.ts";
import type { Outside, OutwardEffect, RunHome, RunRequest } from "./model.ts";

interface Outgoing {
  readonly position: number;
  readonly ref: RunHome;
  readonly request: RunRequest;
  readonly effect: OutwardEffect;
}

export class Outbox {
  readonly #log: Log;
  readonly #outside: Pick<Outside, "perform">;
  #outgoing: Outgoing[] = [];
  #awaited = 0;

  constructor(log: Log, outside: Pick<Outside, "perform">) {
    this.#log = log;
    this.#outside = outside;
  }

  push(ref: RunHome, request: RunRequest, effect: OutwardEffect): void {
    const { position } = this.#log;
    this.#outgoing.push({ position, ref, request, effect });
  }

  leaveWhenCommitted(): void {
    const last = this.#outgoing.at(-1);
    if (!last || last.position <= this.#awaited) return;
    this.#awaited = last.position;
    // A commit that fails ends the actor, and everything that waits here with it.
    this.#log.committed(last.position).then(
      () => {
        this.#leave();
      },
      () => undefined,
    );
  }

  #leave(): void {
    const { durable } = this.#log;
    const leaving = this.#outgoing.filter(({ position }) => position <= durable);
    this.#outgoing = this.#outgoing.filter(({ position }) => position > durable);
    for (const { ref, request, effect } of leaving) this.#outside.perform(ref, request, effect);
  }
}

/**
 * Which attempts leave a cell whose thread they keep busy for the other cells. Pure: time comes in
 * as an argument.
 *
 * S1 A function is heavy while one of its attempts takes the thread for longer than it costs to
 *    move it: the time between two ends while others were under way, as long as turns come late.
 *    An attempt that only waits lets turns come when they are due, however long it takes.
 * S2 Of heavy functions a few attempts are under way here, and a few in each other cell; the rest
 *    waits for whichever is free first. So the work is shared by who gets on with it.
 * S3 Where there is no other cell all is done here; whether there is one is asked again later.
 */

/** Milliseconds of a hop through the gateway and back, and of a mebibyte of input. */
const MOVE_MS = 4;
const MOVE_MIB_MS = 10;
/** A turn that comes later than this says that the thread is busy. */
const LATE_MS = 3;
const HERE_MAX = 2;
const AWAY_MAX = 2;
const WEIGHT = 0.15;
/** After this the number of other cells is asked for again. */
const ALONE_MS = 10_000;
const FUNCTIONS_MAX = 1_000;

export class Spread {
  /** Thread time of one attempt, by function. */
  readonly #costMs = new Map<string, number>();
  #endedAtMs = 0;
  #lateMs = 0;
  /** Other cells, as far as is known. */
  #others = 1;
  #askAgainAtMs = 0;
  #here = 0;
  #away = 0;

  /** A turn of the thread came so much later than it was due. */
  turn(lateMs: number): void {
    this.#lateMs = lateMs;
  }

  /** The same while some wait for a place: if the thread is free they need not. */
  look(lateMs: number): void {
    this.turn(lateMs);
    if (lateMs < LATE_MS) this.#costMs.clear();
  }

  /** Where an attempt of the function goes now; undefined: it waits for a place. */
  place(name: string, sizeBytes: number, nowMs: number): "here" | "away" | "light" | undefined {
    const costMs = this.#costMs.get(name) ?? 0;
    const moveMs = MOVE_MS + (sizeBytes / 1_048_576) * MOVE_MIB_MS;
    const isAlone = this.#others === 0 && nowMs < this.#askAgainAtMs;
    if (costMs <= moveMs || isAlone) return "light";
    if (this.#here < HERE_MAX) {
      this.#here += 1;
      return "here";
    }
    if (this.#away >= AWAY_MAX * Math.max(1, this.#others)) return undefined;
    this.#away += 1;
    return "away";
  }

  /** @param under how many attempts are under way beside it. */
  ended(name: string, place: "here" | "light", under: number, nowMs: number): void {
    if (place === "here") this.#here -= 1;
    const tookMs = nowMs - this.#endedAtMs;
    this.#endedAtMs = nowMs;
    const isBusy = under > 0 && this.#lateMs >= LATE_MS;
    const known = this.#costMs.get(name) ?? 0;
    const costMs = known + WEIGHT * ((isBusy ? tookMs : 0) - known);
    // Beside nobody its cost cannot be told: what is known stays.
    if (under === 0 && place === "here") return;
    if (this.#costMs.size >= FUNCTIONS_MAX) this.#costMs.clear();
    if (costMs < 1) this.#costMs.delete(name);
    else this.#costMs.set(name, costMs);
  }

  /** @param others cells that there are beside this one; undefined: nobody said. */
  cameBack(others: number | undefined, nowMs: number): void {
    this.#away -= 1;
    if (others === undefined) return;
    this.#others = others;
    this.#askAgainAtMs = nowMs + ALONE_MS;
  }
}

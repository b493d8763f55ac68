/**
 * Where the runtime evicts idle actors, an alarm brings the shard back for its runs: it survives
 * what memory does not.
 *
 * 1. It is set in the commit that makes it needed, so that no accepted run is forgotten (G1).
 * 2. It is coarse: while something is under way the shard is looked at every few seconds, which is
 *    less than the runtime waits before it evicts; a commit sets none as long as one is near.
 */

/** workerd evicts an actor that nobody has asked anything for 10 s. */
const LOOK_MS = 5_000;

interface AlarmSeams {
  now(): number;
  /** Whether runs are under way, and when one that waits is due. */
  isBusy(): boolean;
  dueAtMs(): number | undefined;
  set(atMs: number): void;
}

export class ReturnAlarm {
  readonly #seams: AlarmSeams;
  /** As it was set last in this life. */
  #atMs: number | undefined;

  constructor(seams: AlarmSeams) {
    this.#seams = seams;
  }

  /** Before a commit. */
  look(): void {
    const lookAtMs = this.#seams.now() + LOOK_MS;
    const setMs = this.#atMs ?? Number.POSITIVE_INFINITY;
    const wantedMs = Math.max(this.#seams.dueAtMs() ?? Number.POSITIVE_INFINITY, this.#seams.now());
    if (setMs <= Math.min(wantedMs, lookAtMs)) return;
    const atMs = this.#seams.isBusy() ? Math.min(wantedMs, lookAtMs) : wantedMs;
    if (atMs >= setMs) return;
    this.#atMs = atMs;
    this.#seams.set(atMs);
  }

  /** It rang. */
  fired(): void {
    this.#atMs = undefined;
    this.look();
  }
}

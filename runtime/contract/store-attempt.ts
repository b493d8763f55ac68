/**
 * An attempt of a run's step, as everything that works for it names it to the run's store job: what
 * it writes is staged until the attempt settles, and refused from then on.
 */
export interface StoreAttempt {
  readonly step: string;
  readonly token: number;
  /** Opening of the shard that made the attempt: tokens of another one are others. */
  readonly epoch: number;
  /**
   * Call under the attempt: empty, the attempt itself; `2.1`, the first call of its second one.
   * Each counts its immediate operations by itself: calls side by side may overtake one another.
   */
  readonly call: string;
}

/** In one line, as the envelope carries it. */
export function packAttempt({ step, token, epoch, call }: StoreAttempt): string {
  return `${String(epoch)} ${String(token)} ${call} ${JSON.stringify(step)}`;
}

/** @param text what a process of the platform made; nobody else reaches its sockets. */
export function unpackAttempt(text: string): StoreAttempt {
  const [epoch, token, call = ""] = text.split(" ", 3);
  const at = String(epoch).length + String(token).length + call.length + 3;
  return {
    step: JSON.parse(text.slice(at)) as string,
    token: Number(token),
    epoch: Number(epoch),
    call,
  };
}

/** The n-th call that a call of an attempt makes. */
export function callUnder(attempt: StoreAttempt, number: number): StoreAttempt {
  const { call } = attempt;
  return { ...attempt, call: call === "" ? String(number) : `${call}.${String(number)}` };
}

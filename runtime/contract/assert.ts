/** A broken assertion is a bug of Isola, never a fault of a caller: it ends the operation. */
export class AssertionFailed extends Error {
  override readonly name = "AssertionFailed";
}

/**
 * Ends the operation when `condition` is false. `sentence` states the invariant that was broken.
 */
export function assert(condition: unknown, sentence: string): asserts condition {
  if (!condition) throw new AssertionFailed(sentence);
}

/** Marks a branch that the types rule out; throws with the value that got there anyway. */
export function unreachable(value: never, sentence: string): never {
  throw new AssertionFailed(`${sentence}: ${JSON.stringify(value)}`);
}

/** Failures of the blobs directory as errors of the catalogue. */
import { IsolaError, toIsolaError } from "../contract/index.ts";

/**
 * workerd hides the reason of a failed write from the program ("internal error") but marks the
 * system's out-of-space errors as overload.
 */
export function storageError(thrown: unknown, attempted: string, file: string): IsolaError {
  if (thrown instanceof IsolaError) return thrown;
  const { overloaded, message } = thrown as { overloaded?: unknown; message?: unknown };
  if (overloaded === true || /No space left|disk is full/i.test(String(message))) {
    return new IsolaError("DISK_FULL", { attempted, found: `no space for ${file}` });
  }
  return toIsolaError(thrown, attempted);
}

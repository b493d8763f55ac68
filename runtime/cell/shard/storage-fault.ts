/** What a failure of an actor or its storage means for whoever used it. */
import { IsolaError } from "../../contract/index.ts";

const FULL = /SQLITE_FULL|disk is full|No space left on device/i;
const DAMAGED = /SQLITE_(CORRUPT|NOTADB)|malformed|not a database/i;

/**
 * Any thrown thing as an error of the catalogue: `DISK_FULL`, `DATA_CORRUPT`, and otherwise
 * `CELL_RESTARTING`, since an actor that failed is opened again by the next request.
 */
export function storageFault(thrown: unknown, attempted: string): IsolaError {
  if (thrown instanceof IsolaError) return thrown;
  const found = thrown instanceof Error ? thrown.message : String(thrown);
  if (FULL.test(found)) {
    return new IsolaError("DISK_FULL", { attempted, found: "no space left", retryAfterSeconds: 1 });
  }
  if (DAMAGED.test(found)) return new IsolaError("DATA_CORRUPT", { attempted, found });
  return new IsolaError("CELL_RESTARTING", { attempted, found, retryAfterSeconds: 1 });
}

/** Storage failures as errors of the catalogue: a full disk and a damaged file, told apart once. */
import { IsolaError, toIsolaError } from "../contract/index.ts";

const FULL = /SQLITE_FULL|disk is full|No space left on device/i;
const DAMAGED = /SQLITE_(CORRUPT|NOTADB)|malformed|not a database|no such table/i;

/** What a thrown thing means for whoever used the file. Errors of the catalogue pass unchanged. */
export function storageError(thrown: unknown, attempted: string, file: string): IsolaError {
  if (thrown instanceof IsolaError) return thrown;
  const found = thrown instanceof Error ? thrown.message : String(thrown);
  if (FULL.test(found)) return noRoom(attempted, file);
  if (DAMAGED.test(found)) return damagedFile(file, found, attempted);
  return toIsolaError(thrown, attempted);
}

export function noRoom(attempted: string, file: string): IsolaError {
  return new IsolaError("DISK_FULL", { attempted, found: `no space for ${file}` });
}

export function damagedFile(
  file: string,
  found: string,
  attempted = "open the registry",
): IsolaError {
  return new IsolaError("DATA_CORRUPT", {
    attempted,
    found: `${file} is damaged: ${found.slice(0, 200)}`,
    required: "the file as it was written",
    fix: `restore ${file} from a backup, or delete the data directory to start anew`,
  });
}

/** JSON from a row of ours. Errors: `DATA_CORRUPT`; the file's name is added where it is known. */
export function parseStored(text: string, column: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw damagedFile(column, "its text is no JSON");
  }
}

/**
 * What is larger than a row may be: an event with thousands of items, the state of a wide run, its
 * lines. It stands in pieces beside the rows, and its own column is empty.
 */
import type { Sql } from "../../runtime/contract/index.ts";
import { STATEMENTS } from "./schema.ts";

/** workerd refuses what is larger than 2 MB. */
const PIECE_BYTES = 1024 * 1024;
const EMPTY = new Uint8Array(0);

/** Which column of a run's rows: events and lines by their sequence. */
export type PieceKind = "event" | "state" | "ended" | "lines";

export class Pieces {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  /** What the column gets. */
  write(run: number, kind: PieceKind, sequence: number, body: Uint8Array): Uint8Array {
    if (body.byteLength <= PIECE_BYTES) return body;
    for (let at = 0, piece = 0; at < body.byteLength; at += PIECE_BYTES, piece += 1) {
      const part = body.slice(at, at + PIECE_BYTES);
      this.#sql.all(STATEMENTS.piecePut, run, kind, sequence, piece, part);
    }
    return EMPTY;
  }

  /** @param column as the row has it. */
  read(run: number, kind: PieceKind, sequence: number, column: Uint8Array): Uint8Array {
    if (column.byteLength > 0) return column;
    const parts = this.#sql.all(STATEMENTS.pieces, run, kind, sequence);
    const body = new Uint8Array(parts.reduce((sum, { part }) => sum + part.byteLength, 0));
    let at = 0;
    for (const { part } of parts) {
      body.set(part, at);
      at += part.byteLength;
    }
    return body;
  }

  writeText(run: number, kind: PieceKind, sequence: number, text: string): string {
    // At most three bytes a character.
    if (text.length * 3 <= PIECE_BYTES) return text;
    const body = new TextEncoder().encode(text);
    return this.write(run, kind, sequence, body).byteLength > 0 ? text : "";
  }

  readText(run: number, kind: PieceKind, sequence: number, column: string): string {
    if (column !== "") return column;
    return new TextDecoder().decode(this.read(run, kind, sequence, EMPTY));
  }

  /** The snapshot takes the place of events, and of the one before. */
  dropJournal(run: number): void {
    this.#sql.all(STATEMENTS.piecesDropKind, run, "event");
    this.#sql.all(STATEMENTS.piecesDropKind, run, "state");
  }

  drop(run: number): void {
    this.#sql.all(STATEMENTS.piecesDrop, run);
  }
}

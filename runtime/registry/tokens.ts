/**
 * Tokens: `isola_<id>_<secret>`. The id finds the row, the secret never rests: only SHA-256 of the
 * whole token is stored, and compared in a time that does not depend on where it differs.
 */
import { type Random, toHex } from "../contract/index.ts";
import { sha256Hex } from "./hashing.ts";

const ID_BYTES = 8;
const SECRET_BYTES = 24;
const TOKEN = /^isola_([0-9a-f]{16})_[0-9a-f]{48}$/;

export interface NewToken {
  readonly id: string;
  readonly token: string;
  readonly hash: string;
}

export async function makeToken(random: Random): Promise<NewToken> {
  const id = toHex(random.bytes(ID_BYTES));
  const token = `isola_${id}_${toHex(random.bytes(SECRET_BYTES))}`;
  return { id, token, hash: await sha256Hex(token) };
}

/** The id within a token; undefined for what cannot be one. */
export function tokenId(token: string): string | undefined {
  return TOKEN.exec(token)?.[1];
}

/** Compares two hashes of equal form without telling where they differ. */
export function hashesMatch(one: string, other: string): boolean {
  if (one.length !== other.length) return false;
  let difference = 0;
  for (let index = 0; index < one.length; index++) {
    difference |= one.charCodeAt(index) ^ other.charCodeAt(index);
  }
  return difference === 0;
}

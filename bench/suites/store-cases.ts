/** What the suite `store` measures: each place of data with each size, and what compares. */
import type { StoreBatch } from "../fixtures/index.ts";
import type { StoreTarget } from "../store-targets.ts";

export interface StoreOptions {
  /** Rounds of values up to 64 KiB, of larger values, and of streams. */
  readonly rounds: number;
  readonly largeRounds: number;
  readonly streamRounds: number;
  /** Of what is compared with itself: small differences need many. */
  readonly pairedRounds: number;
  /** Operations in a batch. */
  readonly batch: number;
  readonly streamBytes: number;
  readonly quick: boolean;
}

export const STORE_FULL_RUN: StoreOptions = {
  rounds: 100,
  largeRounds: 30,
  streamRounds: 10,
  pairedRounds: 300,
  batch: 100,
  streamBytes: 100 * 1024 * 1024,
  quick: false,
};

export const STORE_QUICK_RUN: StoreOptions = {
  rounds: 8,
  largeRounds: 3,
  streamRounds: 2,
  pairedRounds: 40,
  batch: 100,
  streamBytes: 100 * 1024 * 1024,
  quick: true,
};

export interface StoreCase {
  /** Place, operation and size: the same words everywhere. */
  readonly name: string;
  readonly target: StoreTarget["name"];
  readonly batch: StoreBatch;
}

export const SIZES = { "100 B": 100, "1 KB": 1_000, "64 KB": 64_000, "1 MB": 1_000_000 } as const;
export type SizeName = keyof typeof SIZES;

export const PLACES = ["memory", "disk", "redis", "r2", "s3"] as const;
export type Place = (typeof PLACES)[number];

/** An object store takes so long that fewer operations say as much. */
const OBJECT_STORE_SHARE = 5;

export const caseName = (place: string, op: string, size: string): string =>
  `${place} ${op} ${size}`;

function caseOf(place: Place, size: SizeName, op: "put" | "get", options: StoreOptions): StoreCase {
  const isStore = place === "memory" || place === "disk";
  const isSlow = place === "r2" || place === "s3";
  const count = isSlow ? Math.ceil(options.batch / OBJECT_STORE_SHARE) : options.batch;
  return {
    name: caseName(place, op, size),
    target: isStore ? "isola" : place,
    batch: { op, sizeBytes: SIZES[size], count, ...(isStore ? { durability: place } : {}) },
  };
}

/** In the order of measurement; the suite turns it round from one round to the next. */
export function valueCases(sizes: readonly SizeName[], options: StoreOptions): StoreCase[] {
  return sizes.flatMap((size) =>
    (["put", "get"] as const).flatMap((op) =>
      PLACES.map((place) => caseOf(place, size, op, options)),
    ),
  );
}

const HOUR_MS = 60 * 60 * 1_000;

/** One place twice, once with something more: what that costs. Each is measured twice a round. */
export function pairedCases({ batch: count }: StoreOptions): StoreCase[] {
  const sizeBytes = SIZES["1 KB"];
  return (["put", "get"] as const).flatMap((op): StoreCase[] => {
    const batch: StoreBatch = { op, sizeBytes, count, durability: "memory" };
    return [
      { name: caseName("plain", op, "1 KB"), target: "isola", batch },
      { name: caseName("ttl", op, "1 KB"), target: "isola", batch: { ...batch, ttlMs: HOUR_MS } },
      { name: caseName("again", op, "1 KB"), target: "isola", batch },
    ];
  });
}

/** Through the store, as the call's input, and the call by itself. */
export const HAND_OVERS = [
  ["handOver", "64 KB"],
  ["call", "64 KB"],
  ["call", "100 B"],
] as const;

export function handOverCases({ batch: count }: StoreOptions): StoreCase[] {
  return HAND_OVERS.map(([op, size]) => ({
    name: caseName("memory", op, size),
    target: "isola",
    batch: { op, sizeBytes: SIZES[size], count, durability: "memory" },
  }));
}

export function streamCases({ streamBytes: sizeBytes }: StoreOptions): StoreCase[] {
  return PLACES.flatMap((place) =>
    (["putStream", "getStream"] as const).map((op): StoreCase => {
      const isStore = place === "memory" || place === "disk";
      return {
        name: caseName(place, op, "100 MB"),
        target: isStore ? "isola" : place,
        batch: { op, sizeBytes, count: 1, ...(isStore ? { durability: place } : {}) },
      };
    }),
  );
}

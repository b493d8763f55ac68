/**
 * Traffic between the versions of a function.
 *
 * T1 Shares are positive whole percents that add up to 100; a version stands in them once.
 * T2 Arrivals hold versions in the order in which they last got traffic, newest last; going back
 *    takes the newest away, so going back again goes further back.
 */
import { assert } from "../contract/index.ts";

export interface Share {
  readonly version: number;
  readonly percent: number;
}

/** Arrivals kept per function; older ones cannot be gone back to without naming the version. */
const ARRIVALS_KEPT = 50;

/**
 * Gives `version` its `percent`; what the others had keeps its proportions within the rest.
 *
 * @returns undefined if nothing could carry the rest (T1).
 */
export function shiftTraffic(
  shares: readonly Share[],
  version: number,
  percent: number,
): Share[] | undefined {
  assert(Number.isInteger(percent) && percent >= 0 && percent <= 100, "a percent is 0 to 100");
  if (percent === 100) return [{ version, percent }];
  const others = shares.filter((share) => share.version !== version);
  if (others.length === 0) return undefined;
  const scaled = scaleShares(others, 100 - percent);
  const shifted = percent === 0 ? scaled : [...scaled, { version, percent }];
  return shifted.filter((share) => share.percent > 0).sort((a, b) => a.version - b.version);
}

/** Scales shares to a new total in whole percents, by largest remainder. */
function scaleShares(shares: readonly Share[], total: number): Share[] {
  const before = shares.reduce((sum, share) => sum + share.percent, 0);
  assert(before > 0, "shares to scale have some traffic");
  const exact = shares.map((share) => (share.percent * total) / before);
  const whole = exact.map(Math.floor);
  let left = total - whole.reduce((sum, percent) => sum + percent, 0);
  const byRemainder = exact
    .map((value, index) => ({ index, remainder: value - Math.floor(value) }))
    .sort((a, b) => b.remainder - a.remainder || a.index - b.index);
  for (const { index } of byRemainder) {
    if (left === 0) break;
    whole[index] = (whole[index] ?? 0) + 1;
    left -= 1;
  }
  return shares.map((share, index) => ({ version: share.version, percent: whole[index] ?? 0 }));
}

/** The version with the largest share; of equals the newest. */
export function primaryVersion(shares: readonly Share[]): number {
  let best: Share | undefined;
  for (const share of shares) {
    if (best === undefined || share.percent > best.percent) best = share;
    else if (share.percent === best.percent && share.version > best.version) best = share;
  }
  assert(best !== undefined, "a function has traffic");
  return best.version;
}

/** Arrivals after `version` got traffic, or, with percent 0, lost it (T2). */
export function recordArrival(
  arrivals: readonly number[],
  version: number,
  percent: number,
): number[] {
  const others = arrivals.filter((other) => other !== version);
  return (percent === 0 ? others : [...others, version]).slice(-ARRIVALS_KEPT);
}

/** The newest arrival before the present one that `isUsable` accepts. */
export function previousVersion(
  arrivals: readonly number[],
  isUsable: (version: number) => boolean,
): number | undefined {
  return arrivals.slice(0, -1).findLast(isUsable);
}

/** Arrivals after going back from the present version to `version` whole (T2). */
export function recordReturn(arrivals: readonly number[], version: number): number[] {
  return recordArrival(arrivals.slice(0, -1), version, 100);
}

/** Medians and quartiles over rounds, and slopes. */

export interface Spread {
  readonly median: number;
  /** First and third quartile: between them lies the middle half of the rounds. */
  readonly low: number;
  readonly high: number;
  readonly rounds: number;
}

export function quantile(values: readonly number[], fraction: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const place = (sorted.length - 1) * fraction;
  const [low, high] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  if (low === undefined || high === undefined) return Number.NaN;
  return low + (high - low) * (place - Math.floor(place));
}

export function spreadOf(values: readonly number[]): Spread {
  return {
    median: quantile(values, 0.5),
    low: quantile(values, 0.25),
    high: quantile(values, 0.75),
    rounds: values.length,
  };
}

/** Ratios of two series, round by round. */
export function ratios(above: readonly number[], below: readonly number[]): readonly number[] {
  return above.flatMap((value, round) => {
    const other = below[round];
    return other === undefined ? [] : [value / other];
  });
}

/** Mulberry32: the same draws in every run, so that a figure can be computed again. */
function drawsFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d_2b_79_f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface Interval {
  readonly low: number;
  readonly high: number;
}

const RESAMPLES = 2_000;

/** 95 % percentile interval of the median: what other rounds of the same machine would give. */
export function medianInterval(values: readonly number[]): Interval {
  const draw = drawsFrom(values.length);
  const medians = Array.from({ length: RESAMPLES }, () => {
    const sample = values.map(() => values[Math.floor(draw() * values.length)] ?? 0);
    return quantile(sample, 0.5);
  });
  return { low: quantile(medians, 0.025), high: quantile(medians, 0.975) };
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Slope of the least-squares line through points. */
export function slopeOf(points: readonly (readonly [number, number])[]): number {
  const [x0, y0] = [meanOf(points.map(([x]) => x)), meanOf(points.map(([, y]) => y))];
  const above = points.reduce((sum, [x, y]) => sum + (x - x0) * (y - y0), 0);
  const below = points.reduce((sum, [x]) => sum + (x - x0) ** 2, 0);
  return above / below;
}

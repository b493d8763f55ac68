/** Latencies as HDR histograms: microseconds, three digits, merged rather than averaged. */
import { type Histogram, build, decodeFromCompressedBase64 } from "hdr-histogram-js";

const MAX_MICROSECONDS = 120_000_000;
const DIGITS = 3;

export type { Histogram };

export function newHistogram(): Histogram {
  return build({
    bitBucketSize: 64,
    lowestDiscernibleValue: 1,
    highestTrackableValue: MAX_MICROSECONDS,
    numberOfSignificantValueDigits: DIGITS,
    autoResize: false,
    useWebAssembly: false,
  });
}

export function record(histogram: Histogram, latencyMs: number): void {
  const microseconds = Math.max(1, Math.round(latencyMs * 1000));
  histogram.recordValue(Math.min(microseconds, MAX_MICROSECONDS));
}

export function merged(encoded: readonly string[]): Histogram {
  const total = newHistogram();
  for (const text of encoded) total.add(decodeFromCompressedBase64(text, 64, false));
  return total;
}

export function percentileMs(histogram: Histogram, percent: number): number {
  return histogram.getValueAtPercentile(percent) / 1000;
}

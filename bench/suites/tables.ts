/** Tables as plain text, and the one of figures that every suite ends with. */
import type { Provenance } from "../provenance.ts";
import type { Spread } from "../statistics.ts";
import { type Figure, isMet } from "./figures.ts";

export const shown = (value: number): string => {
  if (Number.isNaN(value) || !Number.isFinite(value)) return "–";
  if (value >= 1000) return Math.round(value).toLocaleString("en-US");
  return value.toFixed(value >= 100 ? 0 : 2);
};

export const withQuartiles = ({ median, low, high }: Spread): string =>
  `${shown(median)} (${shown(low)}–${shown(high)})`;

export function tableOf(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Of what and where the run is. */
export function originLines({ commit, dirtyFiles, versions, machine, loadBefore }: Provenance) {
  const changes = dirtyFiles === 0 ? "" : `, ${dirtyFiles} files changed`;
  return [
    `Isola ${versions.isola} (${commit.slice(0, 12)}${changes}), workerd ${versions.workerd}, ` +
      `Node ${versions.node}`,
    `${machine.cpu}, ${machine.cores} cores, ` +
      `${Math.round(machine.memoryBytes / 2 ** 30)} GiB, load before ${loadBefore.toFixed(2)}`,
  ];
}

function aimOf({ aim, unit }: Figure): string {
  if (aim === undefined) return "";
  return "atLeast" in aim ? `≥ ${aim.atLeast} ${unit}` : `≤ ${aim.atMost} ${unit}`;
}

export function figureTable(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => {
    const met = isMet(figure);
    const { interval, spread } = figure;
    const quartiles = spread ? withQuartiles(spread) : shown(figure.value);
    const value = interval
      ? `${shown(figure.value)} [${shown(interval.low)}–${shown(interval.high)}]`
      : quartiles;
    const judgement = met ? "met" : "MISSED";
    return [
      figure.name,
      `${value} ${figure.unit}`,
      aimOf(figure),
      met === undefined ? "" : judgement,
    ];
  });
  return tableOf([["", "measured", "aim", ""], ...rows]);
}

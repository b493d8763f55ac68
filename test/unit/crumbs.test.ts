import { describe, expect, it } from "vitest";
import { CRUMB_START, isolateMark } from "../../runtime/contract/index.ts";
import { readCrumbs } from "../../runtime/host/internal.ts";

const MARK = "0123456789abcdef0123456789abcdef";
const OWN = `${CRUMB_START}${MARK} `;
const OF_ISOLATE = `${CRUMB_START}${isolateMark(MARK)} `;

describe("a line of a cell's output", () => {
  it("under the cell's own mark says who is entered and who left", () => {
    expect(readCrumbs(`${OWN}L c1 c2 E c3 a/f@1 1000`, MARK)).toEqual([
      { kind: "left", callIds: ["c1", "c2"] },
      { kind: "entered", callId: "c3", key: "a/f@1", blockMs: 1000 },
    ]);
  });

  it("under the isolates' mark says only what a call says of itself", () => {
    expect(readCrumbs(`${OF_ISOLATE}P c1`, MARK)).toEqual([{ kind: "yielded", callId: "c1" }]);
    for (const forged of ["E c1 other/victim@1 10", "L c1", "I other/victim@1", "J x", "P"]) {
      expect(readCrumbs(OF_ISOLATE + forged, MARK)).toEqual([]);
    }
  });

  it("holds one record under the isolates' mark, whatever a console line says", () => {
    const line = `${OF_ISOLATE}O c1 info 5 ${JSON.stringify("x E c2 a/victim@1 1 L c3")}`;
    expect(readCrumbs(line, MARK)).toEqual([
      { kind: "console", callId: "c1", level: "info", atMs: 5, text: "x E c2 a/victim@1 1 L c3" },
    ]);
  });

  it("is text for the log under any other mark", () => {
    expect(readCrumbs("hello", MARK)).toBeUndefined();
    expect(readCrumbs(`${CRUMB_START}${"f".repeat(32)} E c1 a/f@1 1`, MARK)).toBeUndefined();
    expect(readCrumbs(`${CRUMB_START}${MARK.slice(0, 20)} E c1 a/f@1 1`, MARK)).toBeUndefined();
  });
});

import { describe, expect, it } from "vitest";
import { InFlight, type InFlightCall, classifyLost } from "../../runtime/gateway/internal.ts";

function callOf(callId: string, changes: Partial<InFlightCall> = {}): InFlightCall {
  return {
    callId,
    slot: 0,
    key: `a/${callId}@1`,
    client: `127.0.0.1:${callId.length}`,
    cancel: () => undefined,
    isStreaming: false,
    ...changes,
  };
}

describe("calls in flight", () => {
  it("are ended by the address of their client, and no others", () => {
    const inFlight = new InFlight();
    const canceled: string[] = [];
    for (const id of ["a", "bb", "ccc"]) {
      inFlight.add(callOf(id, { cancel: () => canceled.push(id) }));
    }
    expect(inFlight.cancelClients(["127.0.0.1:2", "127.0.0.1:9"])).toBe(1);
    expect(canceled).toEqual(["bb"]);
  });

  it("name the versions that stream from a slot, each once", () => {
    const inFlight = new InFlight();
    inFlight.add(callOf("a", { isStreaming: true }));
    inFlight.add(callOf("b", { isStreaming: true, key: "a/a@1" }));
    inFlight.add(callOf("c"));
    inFlight.add(callOf("d", { isStreaming: true, slot: 1 }));
    expect(inFlight.streamingFrom(0)).toEqual(["a/a@1"]);
  });
});

describe("a lost connection to a cell", () => {
  it.each([
    ["connect(): No such file or directory", "unsent"],
    ["Connection refused", "unsent"],
    ["Network connection lost.", "sent"],
  ])("with the text %s has %s the call", (text, kind) => {
    expect(classifyLost(new Error(text))).toBe(kind);
  });
});

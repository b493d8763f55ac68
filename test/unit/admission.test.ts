import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../../runtime/contract/index.ts";
import {
  Admission,
  type AdmissionRequest,
  type Lease,
  PROBATION_GROUP,
  SHARED_GROUP,
  type Ticket,
} from "../../runtime/gateway/internal.ts";

const pool = (slots: readonly number[]): { upSlots(group: string): number[] } => ({
  upSlots: (group) => (group === PROBATION_GROUP ? [99] : [...slots]),
});

const request = (changes: Partial<AdmissionRequest> = {}): AdmissionRequest => ({
  namespace: "default",
  name: "hello",
  group: SHARED_GROUP,
  maxInFlight: 0,
  callsPerSecondMax: 0,
  inFlightMax: 0,
  ...changes,
});

const isLease = (admitted: Lease | Ticket): admitted is Lease => "release" in admitted;

function fill(admission: Admission, count: number, namespace = "default"): (Lease | Ticket)[] {
  return Array.from({ length: count }, () => admission.admit(request({ namespace }), 0));
}

describe("admission", () => {
  it("spreads calls over the slots by fewest in flight (A1)", () => {
    const admission = new Admission(pool([0, 1]));
    const slots = fill(admission, 4).map((one) => (isLease(one) ? one.slot : -1));
    expect(slots.toSorted((one, other) => one - other)).toEqual([0, 0, 1, 1]);
  });

  it("never exceeds a slot's bound, and queues beyond it (A1)", () => {
    const admission = new Admission(pool([0]));
    const admitted = fill(admission, LIMITS.inFlightPerCell + 1);
    expect(admitted.filter(isLease)).toHaveLength(LIMITS.inFlightPerCell);
    expect(admission.queued).toBe(1);
  });

  it("lets others have the place of who waits for them, until it is taken back", async () => {
    const admission = new Admission(pool([0]));
    const inProbation = () => admission.admit(request({ group: PROBATION_GROUP }), 0);
    const [outer, inner] = [inProbation(), inProbation()];
    if (!isLease(outer) || isLease(inner)) throw new Error("one at a time");
    const takeBack = admission.lend(PROBATION_GROUP, outer.slot);
    const lease = await inner.lease;
    expect(isLease(inProbation())).toBe(false);
    takeBack();
    takeBack();
    lease.release();
    expect([admission.inFlight, admission.queued]).toEqual([1, 1]);
    outer.release();
    expect([admission.inFlight, admission.queued]).toEqual([1, 0]);
  });

  it("runs one call at a time in the probation group", () => {
    const admission = new Admission(pool([0]));
    expect(isLease(admission.admit(request({ group: PROBATION_GROUP }), 0))).toBe(true);
    expect(isLease(admission.admit(request({ group: PROBATION_GROUP }), 0))).toBe(false);
  });

  it("serves waiting namespaces in turn, so a flood waits behind itself (A2)", async () => {
    const admission = new Admission(pool([0]));
    const running = fill(admission, LIMITS.inFlightPerCell).filter(isLease);
    const served: string[] = [];
    const wait = (namespace: string): void => {
      const ticket = admission.admit(request({ namespace }), 0) as Ticket;
      void ticket.lease.then(() => served.push(namespace));
    };
    for (let i = 0; i < 20; i += 1) wait("flood");
    wait("quiet");
    for (const lease of running.slice(0, 3)) lease.release();
    await Promise.resolve();
    expect(served).toContain("quiet");
  });

  it("refuses beyond maxInFlight with a time to come back (A3)", () => {
    const admission = new Admission(pool([0]));
    const first = admission.admit(request({ maxInFlight: 1 }), 0) as Lease;
    expect(() => admission.admit(request({ maxInFlight: 1 }), 0)).toThrow(
      expect.objectContaining({ code: "RATE_LIMITED" }),
    );
    first.release();
    expect(isLease(admission.admit(request({ maxInFlight: 1 }), 0))).toBe(true);
  });

  it("lets a second's worth of calls pass, and refills with time (A3)", () => {
    const admission = new Admission(pool([0]));
    const limited = request({ callsPerSecondMax: 5 });
    const take = (nowMs: number): boolean => {
      try {
        (admission.admit(limited, nowMs) as Lease).release();
        return true;
      } catch {
        return false;
      }
    };
    expect(Array.from({ length: 7 }, () => take(0)).filter(Boolean)).toHaveLength(5);
    expect(take(100)).toBe(false);
    expect(take(300)).toBe(true);
  });

  it("refuses one namespace's flood before the queue is full for others (A3)", () => {
    const admission = new Admission(pool([]));
    fill(admission, LIMITS.queueMaxCallsPerNamespace, "flood");
    expect(() => admission.admit(request({ namespace: "flood" }), 0)).toThrow(
      expect.objectContaining({ code: "QUEUE_FULL" }),
    );
    expect(isLease(admission.admit(request({ namespace: "quiet" }), 0))).toBe(false);
  });

  it("counts out what it counted in, whatever the order (A4)", () => {
    const step = fc.record({
      kind: fc.constantFrom("admit", "release", "again", "leave"),
      pick: fc.nat(50),
      namespace: fc.constantFrom("a", "b", "c"),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const admission = new Admission(pool([0]));
        const held: (Lease | Ticket)[] = [];
        for (const { kind, pick, namespace } of steps) {
          if (kind === "admit") held.push(admission.admit(request({ namespace }), 0));
          const one = held[pick % Math.max(1, held.length)];
          if (!one) continue;
          if (isLease(one) && (kind === "release" || kind === "again")) one.release();
          if (!isLease(one) && kind === "leave") one.leave();
        }
        for (const one of held) if (isLease(one)) one.release();
        for (const one of held) if (!isLease(one)) one.leave();
        expect(admission.queued).toBe(0);
        expect(admission.inFlightOf(0)).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});

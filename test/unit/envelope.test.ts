import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type CallEnvelope,
  type EnvelopeCarrier,
  packEnvelope,
  unpackEnvelope,
} from "../../runtime/contract/index.ts";

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
const hex = (length: number): fc.Arbitrary<string> =>
  fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`));
/** What a header may hold: anything but line breaks and the like. */
const headerText = fc.stringMatching(/^[\t\x20-\x7e\x80-\xff]{0,40}$/);

const envelopes: fc.Arbitrary<CallEnvelope> = fc.record(
  {
    id: hex(32),
    ns: label,
    fn: label,
    v: fc.nat(),
    dl: fc.nat(),
    tp: hex(16),
    at: fc.integer({ min: 1, max: 99 }),
    ik: headerText,
    ch: fc.array(
      fc.tuple(label, label).map(([ns, fn]) => `${ns}/${fn}`),
      { maxLength: 32 },
    ),
    sg: fc.nat(),
    fr: fc.constantFrom(0 as const, 1 as const),
    mb: fc.nat(),
    sj: hex(34),
    rs: fc.record({
      run: hex(34),
      step: fc.string({ unit: "binary" }),
      token: fc.nat(),
      epoch: fc.nat(),
      call: fc.stringMatching(/^(\d{1,3}(\.\d{1,3}){0,3})?$/),
    }),
  },
  { requiredKeys: ["id", "ns", "fn", "v", "dl", "tp", "at", "ik", "ch", "sg", "fr", "mb"] },
);

describe("a call envelope", () => {
  it("arrives as it left, through the JSON text that carries it", () => {
    fc.assert(
      fc.property(envelopes, (envelope) => {
        const carried = JSON.parse(JSON.stringify(packEnvelope(envelope))) as EnvelopeCarrier;
        expect(unpackEnvelope(carried)).toEqual(envelope);
      }),
    );
  });
});

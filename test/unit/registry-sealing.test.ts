import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { systemRandom } from "../../runtime/contract/index.ts";
import {
  hashesMatch,
  importSealKey,
  makeToken,
  sealSecret,
  sha256Hex,
  tokenId,
  unsealSecret,
} from "../../runtime/registry/index.ts";

const KEY = Buffer.alloc(32, 1).toString("base64");
const OTHER_KEY = Buffer.alloc(32, 2).toString("base64");
const PLACE = { namespace: "default", name: "API_KEY" };

describe("sealing", () => {
  it("opens to what was sealed, whatever it was", async () => {
    const key = await importSealKey(KEY);
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "grapheme" }), async (value) => {
        const sealed = await sealSecret(key, PLACE, value, systemRandom);
        expect(await unsealSecret(key, PLACE, sealed)).toBe(value);
        const bytes = Buffer.from(sealed, "base64");
        expect(value.length > 3 && bytes.includes(Buffer.from(value))).toBe(false);
      }),
      { numRuns: 100 },
    );
  });

  it("never looks the same twice", async () => {
    const key = await importSealKey(KEY);
    const seals = await Promise.all(
      Array.from({ length: 50 }, () => sealSecret(key, PLACE, "same", systemRandom)),
    );
    expect(new Set(seals).size).toBe(50);
  });

  it("does not open elsewhere, under another key, or damaged", async () => {
    const key = await importSealKey(KEY);
    const sealed = await sealSecret(key, PLACE, "value", systemRandom);
    const bytes = Buffer.from(sealed, "base64");
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    const otherKey = await importSealKey(OTHER_KEY);
    const tries = [
      [key, { ...PLACE, name: "OTHER" }, sealed],
      [key, { ...PLACE, namespace: "two" }, sealed],
      [otherKey, PLACE, sealed],
      [key, PLACE, bytes.toString("base64")],
      [key, PLACE, "no base64 at all"],
      [key, PLACE, ""],
    ] as const;
    for (const [usedKey, place, text] of tries) {
      const opened = unsealSecret(usedKey, place, text);
      await expect(opened).rejects.toMatchObject({ code: "DATA_CORRUPT" });
    }
  });

  it("takes no key but 32 bytes", async () => {
    for (const text of ["", "short", Buffer.alloc(31).toString("base64"), "%%%"]) {
      await expect(importSealKey(text)).rejects.toMatchObject({ code: "START_FAILED" });
    }
  });
});

describe("tokens", () => {
  it("carry their id, and are known by their hash alone", async () => {
    const { id, token, hash } = await makeToken(systemRandom);
    expect(tokenId(token)).toBe(id);
    expect(hash).toBe(await sha256Hex(token));
    expect(hash).not.toContain(token.split("_")[2]);
  });

  it("are told from anything else", () => {
    fc.assert(fc.property(fc.string(), (text) => tokenId(text) === undefined));
    expect(tokenId(`isola_${"a".repeat(16)}_${"b".repeat(47)}`)).toBeUndefined();
  });

  it("match exactly", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        expect(hashesMatch(a, b)).toBe(a === b);
        expect(hashesMatch(a, a)).toBe(true);
      }),
    );
  });
});

/** Turns: so many at once, the others in their order, whatever comes of those before. */
import { describe, expect, it } from "vitest";
import { Turns } from "../../runtime/cell/internal.ts";

describe("turns", () => {
  it("are taken by so many at once, in the order in which they were asked for", async () => {
    const turns = new Turns(2);
    const begun: number[] = [];
    const ends: (() => void)[] = [];
    const takes = [0, 1, 2, 3].map((at) =>
      turns.take(async () => {
        begun.push(at);
        await new Promise<void>((resolve) => ends.push(resolve));
        return at;
      }),
    );
    await Promise.resolve();
    expect(begun).toEqual([0, 1]);
    ends[1]?.();
    expect(await takes[1]).toBe(1);
    await Promise.resolve();
    expect(begun).toEqual([0, 1, 2]);
    for (const end of ends) end();
    await takes[2];
    await Promise.resolve();
    for (const end of ends) end();
    expect(await Promise.all(takes)).toEqual([0, 1, 2, 3]);
  });

  it("go on after one that failed", async () => {
    const turns = new Turns(1);
    const failing = turns.take(() => Promise.reject(new Error("no")));
    const next = turns.take(async () => "yes");
    await expect(failing).rejects.toThrow("no");
    expect(await next).toBe("yes");
  });
});

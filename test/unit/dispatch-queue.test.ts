/** Attempts that wait for their turn: turns of namespaces, shares of the window, what moves it. */
import { describe, expect, it } from "vitest";
import { DispatchQueue } from "../../runtime/cell/internal.ts";

const FIXED = { aloneMin: 8, sharedMin: 8, max: 8 };
const MOVING = { aloneMin: 2, sharedMin: 2, max: 64 };

function queueOf(sizes: Readonly<Record<string, number>>, bounds = FIXED): DispatchQueue<string> {
  const queue = new DispatchQueue<string>(bounds);
  for (const [namespace, size] of Object.entries(sizes)) {
    for (let at = 0; at < size; at += 1) {
      queue.push(namespace, String(at), `${namespace}${String(at)}`, 0);
    }
  }
  return queue;
}

/** What begins in one turn. */
function takeTurn(queue: DispatchQueue<string>, nowMs = 0): string[] {
  const taken: string[] = [];
  for (let item = queue.take(nowMs); item !== undefined; item = queue.take(nowMs)) {
    taken.push(item);
  }
  return taken;
}

/** What begins without anything ending. */
function takeAll(queue: DispatchQueue<string>, nowMs = 0): string[] {
  const taken = takeTurn(queue, nowMs);
  while (queue.isHeld) {
    queue.turn(0, nowMs);
    taken.push(...takeTurn(queue, nowMs));
  }
  return taken;
}

describe("turns", () => {
  it("are of namespaces, each in the order of its own attempts", () => {
    const queue = queueOf({ a: 10, b: 2 });
    expect(takeTurn(queue)).toStrictEqual(["a0", "b0"]);
    expect(takeAll(queue)).toStrictEqual(["a1", "b1", "a2", "a3"]);
    expect(queue.size).toBe(6);
  });

  it("never wait for another namespace below a share of the window", () => {
    const queue = queueOf({ a: 100 });
    expect(takeTurn(queue)).toHaveLength(8);
    queue.turn(0, 1);
    queue.push("b", "0", "b0", 5);
    queue.push("b", "1", "b1", 5);
    expect(takeAll(queue, 5)).toStrictEqual(["b0", "b1"]);
    // The big one is above its share until enough of it has ended.
    for (let left = 0; left < 4; left += 1) queue.done("a", 6);
    expect(takeAll(queue, 6)).toStrictEqual([]);
    queue.done("a", 7);
    expect(takeAll(queue, 7)).toStrictEqual(["a8"]);
  });

  it("give one that is alone all of the window, a while after the other was last at work", () => {
    const queue = queueOf({ a: 100, b: 1 });
    expect(takeAll(queue)).toHaveLength(5);
    queue.done("b", 10);
    expect(takeAll(queue, 500)).toStrictEqual([]);
    expect(takeAll(queue, 1_500)).toHaveLength(4);
  });

  it("go to at least one attempt of each, however many namespaces there are", () => {
    const many = Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`n${String(at)}x`, 3]));
    expect(takeAll(queueOf(many))).toHaveLength(50);
  });
});

describe("an attempt that is withdrawn", () => {
  it("is not taken, and is handed back once", () => {
    const queue = queueOf({ a: 3 });
    expect(queue.withdraw("a", "1")).toBe("a1");
    expect(queue.withdraw("a", "1")).toBeUndefined();
    expect(queue.withdraw("b", "1")).toBeUndefined();
    expect(queue.size).toBe(2);
    expect(takeAll(queue)).toStrictEqual(["a0", "a2"]);
  });
});

describe("the window", () => {
  it("grows while turns are in time and shrinks while they are late, within its bounds", () => {
    const queue = queueOf({ a: 1 }, MOVING);
    for (let turn = 0; turn < 100; turn += 1) queue.turn(0, 0);
    expect(queue.window(0)).toBe(64);
    for (let turn = 0; turn < 100; turn += 1) queue.turn(50, 0);
    expect(queue.window(0)).toBe(2);
  });

  it("bears less lateness where namespaces share the thread", () => {
    const alone = queueOf({ a: 1 }, MOVING);
    const shared = queueOf({ a: 1, b: 1 }, MOVING);
    for (let turn = 0; turn < 10; turn += 1) {
      for (const queue of [alone, shared]) queue.turn(5, 0);
    }
    expect(alone.window(0)).toBe(5);
    expect(shared.window(0)).toBe(2);
  });

  it("does not grow while nothing waits for it", () => {
    const queue = queueOf({ a: 2 }, MOVING);
    takeTurn(queue);
    for (let turn = 0; turn < 100; turn += 1) queue.turn(0, 0);
    expect(queue.window(0)).toBe(2);
  });

  it("goes by the mean of turns: one that is late now and then says little", () => {
    const queue = queueOf({ a: 1, b: 1 }, MOVING);
    for (let turn = 0; turn < 200; turn += 1) queue.turn(turn % 10 === 0 ? 1 : 0, 0);
    expect(queue.window(0)).toBe(64);
  });
});

describe("every attempt", () => {
  it("is taken once, whatever the order of pushes, takes and ends (G8)", () => {
    const queue = new DispatchQueue<string>(MOVING);
    const taken: string[] = [];
    const open: string[] = [];
    let pushed = 0;
    for (let nowMs = 0; nowMs < 5_000; nowMs += 1) {
      const namespace = `n${String((nowMs * 7) % 5)}`;
      if (nowMs < 2_000) {
        queue.push(namespace, String(nowMs), `${namespace} ${String(nowMs)}`, nowMs);
        pushed += 1;
      }
      queue.turn((nowMs * 13) % 11, nowMs);
      for (let item = queue.take(nowMs); item !== undefined; item = queue.take(nowMs)) {
        taken.push(item);
        open.push(item.split(" ", 1)[0] ?? "");
      }
      const ended = nowMs % 3 === 0 ? open.shift() : undefined;
      if (ended !== undefined) queue.done(ended, nowMs);
      if (nowMs > 2_000 && open.length > 0) queue.done(open.shift() ?? "", nowMs);
    }
    expect(new Set(taken).size).toBe(pushed);
    expect(taken).toHaveLength(pushed);
    expect(queue.size).toBe(0);
  });
});

/** Functions that misbehave, and what becomes of them. */
import { setTimeout as sleep } from "node:timers/promises";
import type { TestPlatform } from "./platform.ts";

const SPIN = "for (;;);";
const SOON_SPIN = `(async () => { await scheduler.wait(50); ${SPIN} })()`;

/** Each holds the thread in another place. */
export const SPINNERS = {
  inItsBody: `export default () => { ${SPIN} };`,
  inMicrotasks: `export default async () => { for (;;) await null; };`,
  inAPattern: `export default () => /^(a+)+$/.test("a".repeat(40) + "b");`,
  inAStream: `export default { fetch() {
    let chunks = 0;
    return new Response(new ReadableStream({ async pull(controller) {
      if (chunks++ > 0) ${SPIN}
      controller.enqueue(new TextEncoder().encode("begun"));
      await scheduler.wait(50);
    } }, { highWaterMark: 0 }));
  } };`,
  inWaitUntil: `export default (_, ctx) => { ctx.waitUntil(${SOON_SPIN}); return "ok"; };`,
  inAWaitUntilOfItsOwn: `import { waitUntil } from "cloudflare:workers";
    export default () => { waitUntil(${SOON_SPIN}); return "ok"; };`,
  inATimerAfterTheAnswer: `export default (_, ctx) => {
    setTimeout(() => { ${SPIN} }, 50);
    ctx.waitUntil(scheduler.wait(300));
    return "ok";
  };`,
  inAnEntrypointsContext: `import { WorkerEntrypoint } from "cloudflare:workers";
    export default class extends WorkerEntrypoint {
      fetch() { this.ctx.waitUntil(${SOON_SPIN}); return new Response("ok"); }
    }`,
} as const;

export interface Trial {
  /** Code or status of each call, in order. */
  readonly outcomes: readonly string[];
  readonly isQuarantined: boolean;
}

/** Calls until the function is in quarantine, or `callsMax` are spent. */
export async function callUntilQuarantined(
  platform: TestPlatform,
  target: string,
  callsMax = 14,
): Promise<Trial> {
  const outcomes: string[] = [];
  while (outcomes.length < callsMax) {
    const answer = await platform.call(target).catch(() => undefined);
    const outcome = answer ? (answer.code ?? String(answer.status)) : "BROKEN";
    if (outcome === "FUNCTION_QUARANTINED") return { outcomes, isQuarantined: true };
    outcomes.push(outcome);
    await sleep(200);
  }
  return { outcomes, isQuarantined: false };
}

export async function isQuarantined(platform: TestPlatform, name: string): Promise<boolean> {
  return (await platform.client.describe(name)).quarantined;
}

/** The start of a new isolate: load → first answer on the prototype, deploy → first on Isola. */
import type { Target } from "../baselines.ts";
import type { Journal } from "../journal.ts";
import { type Answer, Connection } from "../load/connection.ts";
import { type IsolaTarget, deployCode } from "../platform.ts";

/** Connects beforehand: the time is that of the answer, not of a new connection. */
async function ask(url: string): Promise<{ readonly answer: Answer; readonly elapsedMs: number }> {
  const connection = new Connection(url);
  await connection.open();
  const sentMs = performance.now();
  const answer = await connection.ask();
  const elapsedMs = performance.now() - sentMs;
  connection.close();
  if (answer.status !== 200) throw new Error(`${url} answered ${answer.status}`);
  return { answer, elapsedMs };
}

export async function measureBareStarts(
  target: Target,
  starts: number,
  journal: Journal,
): Promise<void> {
  for (let index = 0; index < starts; index++) {
    const { elapsedMs } = await ask(`${target.url}load?id=${index}`);
    journal.add({ type: "start", target: target.name, firstAnswerMs: elapsedMs, cold: true });
  }
}

export async function measureStarts(
  isola: IsolaTarget,
  code: string,
  starts: number,
  journal: Journal,
): Promise<void> {
  for (let index = 0; index < starts; index++) {
    const name = `start-${index}`;
    const beganMs = performance.now();
    // Every function has code of its own, so that nothing is shared by its hash.
    await deployCode(isola.client, name, `${code}\n// ${name}\n`);
    const deployMs = performance.now() - beganMs;
    const { answer, elapsedMs } = await ask(`${isola.publicUrl}/function/${name}`);
    const cold = /\r\nx-isola-cold: *1/i.test(answer.head);
    journal.add({ type: "start", target: isola.name, deployMs, firstAnswerMs: elapsedMs, cold });
  }
}

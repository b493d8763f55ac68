/** Shows that something goes on: on a terminal, after a second, gone when it ends. */
import type { Io } from "../io.ts";

const FIRST_AFTER_MS = 1_000;
const REDRAW_MS = 250;
const CLEAR_LINE = "\r\u001B[2K";

export async function showProgress<T>(
  stream: Io["stderr"],
  label: string,
  work: Promise<T>,
): Promise<T> {
  if (stream.isTTY !== true) return work;
  const began = Date.now();
  let isShown = false;
  const timer = setInterval(() => {
    const passedMs = Date.now() - began;
    if (passedMs < FIRST_AFTER_MS) return;
    isShown = true;
    stream.write(`${CLEAR_LINE}${label} … ${(passedMs / 1_000).toFixed(1)} s`);
  }, REDRAW_MS);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    if (isShown) stream.write(CLEAR_LINE);
  }
}

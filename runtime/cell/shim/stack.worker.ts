/** Stacks as the author of a function wants them: without the frames that are the platform's. */
const SHIM = "isola-shim.js";
const FRAMES = /\n {4}at [^\n]*\bisola-shim\.js:\d+:\d+\)?/g;

export function withoutShim(text: string): string {
  return text.includes(SHIM) ? text.replaceAll(FRAMES, "") : text;
}

import { type ErrorCode, isErrorCode } from "../contract/index.ts";

/**
 * The catalogue code of an error that a platform call threw, for example `ctx.call`.
 * Branch on it, never on the message.
 *
 * @returns undefined for anything that is no error of the platform.
 */
export function errorCode(thrown: unknown): ErrorCode | undefined {
  if (typeof thrown !== "object" || thrown === null) return undefined;
  const { code } = thrown as { code?: unknown };
  return isErrorCode(code) ? code : undefined;
}

import { describe, expect, it } from "vitest";
import { classifyRuntimeError } from "../../runtime/cell/internal.ts";

describe("an error of the runtime", () => {
  it.each([
    ["it detected that your Worker's code had hung and would never answer", "FUNCTION_ERROR"],
    ['Could not serialize object of type "Foo".', "RESULT_INVALID"],
    ["internal error; reference = abc", "FUNCTION_ERROR"],
    ["anything else", "FUNCTION_ERROR"],
  ])("becomes one of the catalogue: %s", (text, code) => {
    expect(classifyRuntimeError(new Error(text)).code).toBe(code);
  });
});

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IsolaError } from "../../runtime/contract/index.ts";
import { pathOf, resolvePath } from "../../runtime/gateway/internal.ts";

function outcomeOf(path: string): string {
  try {
    const { name } = resolvePath("localhost", path).target;
    return /^[a-z0-9-]{1,63}$/.test(name) ? "a function" : `a bad name ${name}`;
  } catch (thrown) {
    const isRefused = thrown instanceof IsolaError && thrown.status < 500;
    return isRefused ? "refused" : `thrown: ${String(thrown)}`;
  }
}

describe("the function that a request means", () => {
  it.each([
    ["/function/hello", "default", "hello", "/"],
    ["/function/hello/", "default", "hello", "/"],
    ["/function/hello?a=1", "default", "hello", "/?a=1"],
    ["/function/hello.team/x/y?b=2", "team", "hello", "/x/y?b=2"],
  ])("stands in the path %s", (path, namespace, name, rest) => {
    expect(resolvePath("127.0.0.1:8080", path)).toMatchObject({
      target: { namespace, name },
      path: rest,
    });
  });

  it("stands in the host name, and the path stays whole", () => {
    expect(resolvePath("hello.team.localhost:8080", "/a?b=1")).toEqual({
      target: { namespace: "team", name: "hello" },
      path: "/a?b=1",
      prefix: "",
    });
  });

  it("is refused with a code of the catalogue for every other path", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(["a function", "refused"]).toContain(outcomeOf(`/${text}`));
      }),
    );
  });

  it("takes the path out of a URL as it stands", () => {
    expect(pathOf("http://a:1/b%2Fc?d=e")).toBe("/b%2Fc?d=e");
    expect(pathOf("http://a:1")).toBe("/");
  });
});

/** Operating runs of one Worker under `wrangler dev`: the same tests. */
import { vi } from "vitest";

vi.hoisted(() => {
  process.env["ISOLA_TEST_FORM"] = "collapsed";
});

await import("./runs-flow.test.ts");

/** The generator's process: takes a plan, answers with a report, ends with its parent. */
import { generate } from "./generator.ts";
import type { LoadPlan } from "./plan.ts";

process.on("message", (plan: LoadPlan) => {
  void generate(plan).then(
    (report) => process.send?.({ report }),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
process.on("disconnect", () => process.exit(0));

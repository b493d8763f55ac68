import { defineConfig } from "vitest/config";

/**
 * One project per need: `tidy` and `unit` need nothing, `worker` a workerd process, `simulation`
 * a seed, `conformance` a backend, `e2e` a whole platform.
 */
const project = (name: string, options: Record<string, unknown> = {}) => ({
  test: {
    name,
    environment: "node" as const,
    include: [`test/${name}/**/*.test.ts`],
    ...options,
  },
});

// Platforms share the machine's few cores: more than two at once measure each other.
const platform = { maxWorkers: 2, testTimeout: 60_000, hookTimeout: 60_000 };

// A folder in which every run leaves its results, for whoever adds them up.
const results = process.env["VITEST_RESULTS"];
const resultFile = `${results ?? ""}/${String(process.pid)}.json`;

export default defineConfig({
  // What functions import: the sources, not the build that the package exports.
  resolve: {
    alias: [{ find: /^isola$/, replacement: `${import.meta.dirname}/runtime/sdk/index.ts` }],
  },
  test: {
    reporters: results ? ["default", ["json", { outputFile: resultFile }]] : ["default"],
    slowTestThreshold: 1_000,
    passWithNoTests: true,
    projects: [
      project("tidy"),
      project("unit"),
      project("worker", platform),
      project("simulation", { testTimeout: 60_000 }),
      project("conformance", platform),
      project("e2e", platform),
    ],
  },
});

/** Where and of what a result is: commit, versions, machine, load. Goes with every raw record. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, loadavg, release, totalmem } from "node:os";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

export interface Provenance {
  readonly commit: string;
  /** Files of the checkout that differ from the commit. */
  readonly dirtyFiles: number;
  readonly versions: { readonly isola: string; readonly node: string; readonly workerd: string };
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryBytes: number;
    readonly kernel: string;
  };
  readonly startedAt: string;
  readonly loadBefore: number;
}

function git(...args: string[]): string {
  try {
    return execFileSync("git", args, { cwd: ROOT, stdio: ["ignore", "pipe", "ignore"] })
      .toString()
      .trim();
  } catch {
    return "";
  }
}

function versionOf(manifest: string): string {
  const parsed: unknown = JSON.parse(readFileSync(manifest, "utf8"));
  return (parsed as { readonly version: string }).version;
}

export function provenance(): Provenance {
  const require = createRequire(import.meta.url);
  const processors = cpus();
  return {
    commit: git("rev-parse", "HEAD") || "unknown",
    dirtyFiles: git("status", "--porcelain").split("\n").filter(Boolean).length,
    versions: {
      isola: versionOf(`${ROOT}/package.json`),
      node: process.versions.node,
      workerd: versionOf(require.resolve("workerd/package.json")),
    },
    machine: {
      cpu: processors[0]?.model ?? "unknown",
      cores: processors.length,
      memoryBytes: totalmem(),
      kernel: release(),
    },
    startedAt: new Date().toISOString(),
    loadBefore: loadavg()[0] ?? 0,
  };
}

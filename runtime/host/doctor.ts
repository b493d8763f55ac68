/**
 * What this system has of what the platform can use: each thing is tried, within a time limit, and
 * what is missing says what that disables and how to get it. Data; the command line shows it.
 */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { tryBucket } from "./bucket-trial.ts";
import type { BucketOptions } from "./cold-process.ts";
import { type Capabilities, findCapabilities, findProgram, works } from "./capabilities.ts";
import { workerdPath } from "./release.ts";
import { type Timers, systemTimers, within } from "./system-timers.ts";

export interface DoctorItem {
  readonly name: string;
  readonly ok: boolean;
  /** What was found, in a few words. */
  readonly found: string;
  /** What its absence takes away. */
  readonly disables?: string;
  /** Command, or step, that brings it. */
  readonly fix?: string;
}

export interface DoctorOptions {
  readonly dataDir: string;
  /** Of the store's cold tier, if one is configured. */
  readonly bucket?: BucketOptions | undefined;
}

/** How one thing is tried. */
interface Probe {
  readonly name: string;
  readonly disables: string;
  readonly fix: string;
  /** What was found; undefined = missing. */
  readonly try: (context: ProbeContext) => Promise<string | undefined>;
}

interface ProbeContext {
  readonly capabilities: Capabilities;
  readonly dataDir: string;
}

const PROBE_BOUND_MS = 4_000;
const NODE_MAJOR = 24;

/** Debian's package manager, or a hint for the others. */
const install = (packages: string): string =>
  findProgram("apt-get") === undefined
    ? `install the package ${packages} of your system`
    : `apt-get install -y ${packages}`;

/** First line of what a program says of its version. */
function versionOf(program: string, flag = "--version"): Promise<string | undefined> {
  const path = findProgram(program);
  if (path === undefined) return Promise.resolve(undefined);
  return firstLine(path, [flag]);
}

function firstLine(path: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    const options = { timeout: PROBE_BOUND_MS, killSignal: "SIGKILL" as const };
    execFile(path, [...args], options, (error, stdout, stderr) => {
      const line = `${stdout}${stderr}`.trim().split("\n")[0]?.trim();
      resolve(error === null ? line || path : undefined);
    });
  });
}

function backendProbe(name: string, program: string, backend: string, packages: string): Probe {
  return {
    name,
    disables: `the ${backend} backend`,
    fix: install(packages),
    try: () => versionOf(program),
  };
}

function cgroupsFound({ capabilities }: ProbeContext): string | undefined {
  const { cgroups } = capabilities;
  if (cgroups === undefined) return undefined;
  if (cgroups.version === 2) return `v2, writable at ${cgroups.root}`;
  const pids = cgroups.pids === undefined ? "memory" : "memory and pids";
  return `v1, ${pids} writable`;
}

const PROBES: readonly Probe[] = [
  {
    name: "node",
    disables: "everything: the host needs a recent Node",
    fix: "npm install (it brings a pinned Node), or install a newer one",
    try: () => {
      const { node } = process.versions;
      return Promise.resolve(Number(node.split(".")[0]) >= NODE_MAJOR ? node : undefined);
    },
  },
  {
    name: "workerd",
    disables: "everything: functions run in it",
    fix: "npm install, with its install scripts allowed",
    try: () => firstLine(workerdPath(), ["--version"]),
  },
  {
    name: "setpriv",
    disables: "the kernel's own end of orphans (a shell watches instead), no_new_privs",
    fix: install("util-linux"),
    try: ({ capabilities }) => Promise.resolve(capabilities.setpriv),
  },
  {
    name: "flock",
    disables: "locks that a process holds on its state itself",
    fix: install("util-linux"),
    try: ({ capabilities }) => Promise.resolve(capabilities.flock),
  },
  {
    name: "network namespaces",
    disables: "cells without a network; workerd's own rules still close it to functions",
    fix: "start as root, or allow unprivileged user namespaces",
    try: ({ capabilities }) => Promise.resolve(capabilities.emptyNetwork?.slice(0, -1).join(" ")),
  },
  {
    name: "users of their own",
    disables:
      "users for each process: files and sockets of one are open to another that breaks out",
    fix: "start as root, with data and installation in folders that other users may enter",
    try: ({ capabilities }) => {
      const { users } = capabilities;
      return Promise.resolve(users === undefined ? undefined : `uids from ${users.base}`);
    },
  },
  {
    name: "cgroups",
    disables: "the kernel's memory bound of a cell; the host looks each second instead",
    fix: "start in a cgroup that is delegated to you: systemd-run --user --scope -p Delegate=yes",
    try: (context) => Promise.resolve(cgroupsFound(context)),
  },
  {
    name: "certificates",
    disables: "the system's certificates; Node's own are used instead",
    fix: install("ca-certificates"),
    try: () => {
      const store = ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem"].find(existsSync);
      return Promise.resolve(store);
    },
  },
  {
    name: "bubblewrap",
    disables: "a mount namespace around the process backend",
    fix: install("bubblewrap"),
    try: () => versionOf("bwrap"),
  },
  backendProbe("runc", "runc", "container", "runc"),
  backendProbe("runsc", "runsc", "gvisor", "runsc"),
  backendProbe("qemu", "qemu-system-x86_64", "microvm", "qemu-system-x86"),
  {
    name: "/dev/kvm",
    disables: "hardware virtualization: the microvm backend emulates, many times slower",
    fix: "enable virtualization in the firmware, or run on a machine that has it",
    try: async () => {
      if (!existsSync("/dev/kvm")) return undefined;
      // In a child: on some machines opening it never returns.
      const opened = await works(["/bin/sh", "-c", "exec 3<>/dev/kvm"], PROBE_BOUND_MS);
      return opened ? "present; the microvm backend tries whether guests run on it" : undefined;
    },
  },
];

function dataItem(dataDir: string): DoctorItem {
  const file = join(dataDir, "platform.json");
  if (!existsSync(file)) return { name: "data", ok: true, found: `${dataDir}: none yet` };
  try {
    const data = JSON.parse(readFileSync(file, "utf8")) as { format: number; release: string };
    const found = `${dataDir}: format ${data.format}, release ${data.release}`;
    return { name: "data", ok: true, found };
  } catch (error) {
    const found = `${file}: ${(error as Error).message}`;
    return { name: "data", ok: false, found, disables: "the start", fix: "restore a backup" };
  }
}

function bucketItem(options: BucketOptions | undefined, outcome: string | undefined): DoctorItem {
  const name = "cold tier";
  if (options === undefined) return { name, ok: true, found: "none configured" };
  const where = `${options.endpoint}, bucket ${options.bucket}`;
  if (outcome === undefined) return { name, ok: true, found: `${where}: can be used` };
  return {
    name,
    ok: false,
    found: `${where}: ${outcome}`,
    disables: "the store's third tier; a full disk refuses, and what is in the bucket waits",
    fix: "correct ISOLA_S3_*, or what the credentials may do: list, read, write, delete",
  };
}

/** Tries everything, each within its own limit; the order is that of the table. */
export async function runDoctor(
  options: DoctorOptions,
  timers: Timers = systemTimers,
): Promise<readonly DoctorItem[]> {
  const reachable = existsSync(options.dataDir) ? [options.dataDir, workerdPath()] : [];
  const capabilities = await findCapabilities({ reachable });
  const context = { capabilities, dataDir: options.dataDir };
  const items = await Promise.all(
    PROBES.map(async ({ name, disables, fix, try: attempt }): Promise<DoctorItem> => {
      const found = await within(timers, 2 * PROBE_BOUND_MS, attempt(context), "no answer");
      const ok = found !== undefined && found !== "no answer";
      return ok ? { name, ok, found } : { name, ok, found: found ?? "missing", disables, fix };
    }),
  );
  const bucket = await within(timers, 4 * PROBE_BOUND_MS, tryBucket(options.bucket), "no answer");
  return [...items, bucketItem(options.bucket, bucket), dataItem(options.dataDir)];
}

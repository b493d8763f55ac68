/**
 * The data directory (INTERFACE §8): opened, locked and checked before any process starts.
 *
 * D1 Nothing is opened that this release does not know or that is damaged; the error names it.
 * D2 A first start that fails takes back what it made; a later one changes nothing.
 */
import { createHash, randomBytes } from "node:crypto";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { IsolaError, LIMITS, PROBATION_SLOT } from "../contract/index.ts";
import { lockData } from "./data-lock.ts";
import { type DirectoryRule, Layout } from "./layout.ts";
import { CHECK_DATABASE } from "./schema.ts";
import { readOptional, writeWhole } from "./whole-file.ts";

/** Format of the data directory that this release reads and writes. */
const DATA_FORMAT = 1;

interface PlatformFile {
  readonly format: number;
  /** Fixed at first start (DESIGN §2). */
  readonly shards: number;
  /** Release that wrote it last. */
  readonly release: string;
  /** Tells one seal key from another without giving it away. */
  readonly sealKeyId: string;
  /** The registry has been written: from now on its absence is a loss. */
  readonly hasRegistry: boolean;
  /** Random: tells its objects in a bucket from those of other installations. */
  readonly installation: string;
}

export interface OpenData {
  readonly layout: Layout;
  readonly adminToken: string;
  /** Base64 of 32 bytes. */
  readonly sealKey: string;
  readonly shards: number;
  readonly installation: string;
  /** Says that the registry exists from now on. */
  keepRegistry(): void;
  /** Gives the lock back. With `undo`, also takes back what this start made (D2). */
  close(undo: boolean): void;
}

export interface DataOptions {
  readonly dataDir: string;
  readonly keyFile: string | undefined;
  readonly shards: number;
  readonly release: string;
}

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "ENOENT";

function corrupt(file: string, found: string, fix?: string): IsolaError {
  return new IsolaError("DATA_CORRUPT", {
    attempted: `open the data directory`,
    found: `${file}: ${found}`,
    required: "a whole file as Isola wrote it",
    ...(fix === undefined ? {} : { fix }),
  });
}

/** Opens and locks. Errors: DATA_IN_USE, DATA_VERSION, DATA_CORRUPT, DISK_FULL, START_FAILED. */
export function openData(options: DataOptions): OpenData {
  const dataDir = resolve(options.dataDir);
  const keyFile = resolve(options.keyFile ?? `${dataDir}.key`);
  const existed = { data: existsSync(dataDir), key: existsSync(keyFile) };
  let lock: { release(): void } | undefined;
  const close = (undo: boolean): void => {
    lock?.release();
    if (!undo) return;
    if (!existed.data) rmSync(dataDir, { recursive: true, force: true });
    if (!existed.key) rmSync(keyFile, { force: true });
  };
  try {
    makeDirectories(dataDir);
    const layout = new Layout(dataDir, shortSocketRoot(join(dataDir, "run")));
    lock = lockData(layout);
    const known = readPlatformFile(layout);
    const sealKey = readSealKey(keyFile, known);
    let file = mergePlatformFile(known, options, sealKeyIdOf(sealKey));
    checkRegistry(layout, file.hasRegistry);
    const adminToken = readAdminToken(layout, known !== undefined);
    writeWhole(layout.platformFile, `${JSON.stringify(file, undefined, 2)}\n`, 0o644);
    const keepRegistry = (): void => {
      if (file.hasRegistry) return;
      file = { ...file, hasRegistry: true };
      writeWhole(layout.platformFile, `${JSON.stringify(file, undefined, 2)}\n`, 0o644);
    };
    const { shards, installation } = file;
    return { layout, adminToken, sealKey, shards, installation, keepRegistry, close };
  } catch (error) {
    const inUse = error instanceof IsolaError && error.code === "DATA_IN_USE";
    close(!inUse);
    throw asStartError(error, dataDir);
  }
}

function asStartError(error: unknown, dataDir: string): unknown {
  const { code, path } = error as NodeJS.ErrnoException;
  if (error instanceof IsolaError || code === undefined) return error;
  const full = code === "ENOSPC" || code === "EDQUOT";
  return new IsolaError(
    full ? "DISK_FULL" : "START_FAILED",
    {
      attempted: `open the data directory ${dataDir}`,
      found: `${code} at ${path ?? dataDir}`,
      required: "a directory that this user may write",
      fix: full ? "free space, then start again" : "correct its owner or mode, or pass --data",
    },
    { cause: error },
  );
}

function makeDirectories(dataDir: string): void {
  // Root gives its processes users of their own, which pass through; nobody else has to.
  mkdirSync(dataDir, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 });
  for (const name of ["run", "workerd", "blobs", "logs"]) {
    mkdirSync(join(dataDir, name), { recursive: true, mode: 0o711 });
  }
  chmodSync(join(dataDir, "logs"), 0o700);
}

/** Longest socket below `run/`, with its slash. */
const LONGEST_SOCKET = `/supply-${PROBATION_SLOT}/supply.sock`;

const fits = (path: string): boolean =>
  Buffer.byteLength(path + LONGEST_SOCKET) <= LIMITS.socketPathMaxBytes;

/** The directory itself, or a short link to it where sockets' paths would be too long. */
export function shortSocketRoot(runDir: string, temporary: string = tmpdir()): string {
  if (fits(runDir)) return runDir;
  const id = createHash("sha256").update(runDir).digest("hex").slice(0, 16);
  const link = join(temporary, `isola-${id}`);
  if (!fits(link)) throw pathTooLong(runDir);
  // Anybody may write to the temporary directory: a link that is not ours is not followed.
  const stat = lstatSync(link, { throwIfNoEntry: false });
  if (stat === undefined) {
    symlinkSync(runDir, link);
    return link;
  }
  if (stat.isSymbolicLink() && stat.uid === process.getuid?.() && readlinkSync(link) === runDir) {
    return link;
  }
  throw pathTooLong(runDir);
}

function pathTooLong(runDir: string): IsolaError {
  return new IsolaError("START_FAILED", {
    attempted: `make sockets in ${runDir}`,
    found: `a path of ${Buffer.byteLength(runDir + LONGEST_SOCKET)} bytes`,
    required: `at most ${LIMITS.socketPathMaxBytes} bytes`,
    fix: "pass a --data with a shorter path",
  });
}

function readPlatformFile(layout: Layout): PlatformFile | undefined {
  const text = readOptional(layout.platformFile);
  if (text === undefined) {
    if (registryFiles(layout).length === 0) return undefined;
    throw corrupt(layout.platformFile, "missing beside a registry");
  }
  let file: Partial<PlatformFile>;
  try {
    file = JSON.parse(text) as Partial<PlatformFile>;
  } catch (error) {
    throw corrupt(layout.platformFile, `no JSON (${text.length} bytes)`, (error as Error).message);
  }
  const { format, shards, release = "?", sealKeyId, hasRegistry } = file;
  // Data of before this release has none yet.
  const { installation = newInstallation() } = file;
  if (format !== DATA_FORMAT) throw unknownFormat(layout, format, release);
  if (!Number.isInteger(shards) || typeof sealKeyId !== "string") {
    throw corrupt(layout.platformFile, "fields missing or of a wrong type");
  }
  return {
    format,
    shards: shards ?? 1,
    release,
    sealKeyId,
    hasRegistry: hasRegistry === true,
    installation,
  };
}

const newInstallation = (): string => randomBytes(8).toString("hex");

function unknownFormat(layout: Layout, format: unknown, release: string): IsolaError {
  return new IsolaError("DATA_VERSION", {
    attempted: `open the data directory ${layout.dataDir}`,
    found: `format ${JSON.stringify(format) ?? "none"} in ${layout.platformFile}, of ${release}`,
    required: `format ${DATA_FORMAT}`,
    fix: `start it with Isola ${release}, or pass another --data`,
  });
}

function mergePlatformFile(
  known: PlatformFile | undefined,
  options: DataOptions,
  sealKeyId: string,
): PlatformFile {
  const { release, shards } = options;
  if (known === undefined) {
    const installation = newInstallation();
    return { format: DATA_FORMAT, shards, release, sealKeyId, hasRegistry: false, installation };
  }
  return { ...known, release };
}

const sealKeyIdOf = (key: string): string =>
  createHash("sha256").update(`isola-seal-key-id:${key}`).digest("hex").slice(0, 16);

/** The key lies beside the data, not in it, so that a copy of the data does not hold it. */
function readSealKey(keyFile: string, known: PlatformFile | undefined): string {
  const restore = `put back the key that this data was sealed with, or pass it with --key-file`;
  const text = readOptional(keyFile)?.trim();
  if (text === undefined) {
    if (known?.hasRegistry) throw corrupt(keyFile, "no such file", restore);
    const key = randomBytes(32).toString("base64");
    mkdirSync(dirname(keyFile), { recursive: true });
    writeWhole(keyFile, `${key}\n`, 0o600);
    return key;
  }
  if (Buffer.from(text, "base64").length !== 32) {
    throw corrupt(keyFile, "not 32 bytes in base64", restore);
  }
  if (known?.hasRegistry && known.sealKeyId !== sealKeyIdOf(text)) {
    throw corrupt(keyFile, "the key of another installation", restore);
  }
  return text;
}

function readAdminToken(layout: Layout, isKnown: boolean): string {
  const text = readOptional(layout.tokenFile)?.trim();
  if (text !== undefined) {
    if (/^\S{16,}$/.test(text)) return text;
    const fix = "delete it: the next start makes a new token";
    throw corrupt(layout.tokenFile, `no token (${text.length} characters)`, fix);
  }
  // A token that was deleted is made anew: that is how an operator replaces it.
  const token = randomBytes(32).toString("base64url");
  writeWhole(layout.tokenFile, `${token}\n`, 0o600);
  return isKnown ? readAdminToken(layout, false) : token;
}

const registryDir = (layout: Layout): string =>
  join(layout.stateDir("gateway"), "isola-registry-v1");

function registryFiles(layout: Layout): readonly string[] {
  const directory = registryDir(layout);
  try {
    return readdirSync(directory)
      .filter((name) => name.endsWith(".sqlite"))
      .map((name) => join(directory, name));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** SQLite calls an empty file an empty database, and workerd would start anew in it (D1). */
function checkRegistry(layout: Layout, hasRegistry: boolean): void {
  const files = registryFiles(layout);
  if (!hasRegistry) return;
  if (files.length === 0) throw corrupt(registryDir(layout), "no registry file");
  for (const file of files) {
    if (statSync(file).size === 0) throw corrupt(file, "0 bytes");
    const fault = findDatabaseFault(file);
    if (fault !== undefined) throw corrupt(file, fault);
  }
}

export function findDatabaseFault(file: string): string | undefined {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file, { readOnly: true });
    const row = database.prepare(CHECK_DATABASE).get();
    const [answer] = Object.values(row ?? {});
    return answer === "ok" ? undefined : String(answer);
  } catch (error) {
    return (error as Error).message;
  } finally {
    database?.close();
  }
}

/** Makes directories with the owners and modes that the rules say. */
export function applyDirectoryRules(rules: readonly DirectoryRule[]): void {
  for (const { path, mode, uid, gid } of rules) {
    mkdirSync(path, { recursive: true });
    const [owner, group] = [uid ?? process.getuid?.() ?? 0, gid ?? process.getgid?.() ?? 0];
    const stat = lstatSync(path);
    if (stat.uid !== owner || stat.gid !== group) chownSync(path, owner, group);
    // After the owner: a change of owner clears the set-group bit.
    chmodSync(path, mode);
  }
}

/**
 * workerd's configuration as Cap'n Proto text, from plain descriptions. Pure: it knows the format,
 * not Isola. Every value is quoted here and nowhere else.
 */
import { unreachable } from "../contract/index.ts";

/** What a socket or a binding points at. */
export interface ServiceRef {
  readonly service: string;
  readonly entrypoint?: string;
  /** JSON value that the entrypoint sees as `ctx.props`. */
  readonly props?: unknown;
}

export type ServiceSpec =
  | { readonly kind: "worker"; readonly name: string; readonly worker: WorkerSpec }
  | {
      readonly kind: "external";
      readonly name: string;
      readonly socketPath: string;
      /** Header in which a request's `cf` object travels. */
      readonly cfHeader?: string;
    }
  | { readonly kind: "disk"; readonly name: string; readonly path: string }
  | {
      readonly kind: "network";
      readonly name: string;
      /** CIDRs and workerd's words (`public`, `private`, `local`). */
      readonly allow: readonly string[];
      readonly trustsBrowserCas?: boolean;
    };

export type BindingSpec =
  | { readonly kind: "service"; readonly name: string; readonly target: ServiceRef }
  | { readonly kind: "json"; readonly name: string; readonly value: unknown }
  | { readonly kind: "environment"; readonly name: string; readonly variable: string }
  | { readonly kind: "objects"; readonly name: string; readonly className: string }
  | { readonly kind: "loader"; readonly name: string; readonly id: string };

export interface ObjectsSpec {
  readonly className: string;
  /** Names the state on disk: changing it loses the data. */
  readonly uniqueKey: string;
}

export interface WorkerSpec {
  /** File beside the configuration that holds the ES module. */
  readonly moduleFile: string;
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  readonly bindings: readonly BindingSpec[];
  readonly objects?: { readonly classes: readonly ObjectsSpec[]; readonly diskService: string };
  readonly outbound: string;
}

export interface SocketSpec {
  readonly name: string;
  /** `unix:<path>`; empty if the descriptor is handed over on the command line. */
  readonly address: string;
  readonly target: ServiceRef;
  /** Header in which a request's `cf` object arrives; whoever can reach the socket writes it. */
  readonly cfHeader?: string;
}

export interface ConfigSpec {
  readonly services: readonly ServiceSpec[];
  readonly sockets: readonly SocketSpec[];
  readonly v8Flags: readonly string[];
}

/** A string literal. JSON's escapes are Cap'n Proto's, but for \u and for what is not ASCII. */
export function quote(text: string): string {
  const bytes = new TextEncoder().encode(text);
  let out = '"';
  for (const byte of bytes) {
    const char = String.fromCharCode(byte);
    if (char === '"' || char === "\\") out += `\\${char}`;
    else if (byte >= 0x20 && byte < 0x7f) out += char;
    else out += `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return `${out}"`;
}

const list = (items: readonly string[], indent: string): string =>
  items.length === 0 ? "[]" : `[\n${items.map((i) => `${indent}  ${i},\n`).join("")}${indent}]`;

const texts = (items: readonly string[]): string => `[${items.map(quote).join(", ")}]`;

function renderTarget({ service, entrypoint, props }: ServiceRef): string {
  if (entrypoint === undefined && props === undefined) return quote(service);
  const parts = [`name = ${quote(service)}`];
  if (entrypoint !== undefined) parts.push(`entrypoint = ${quote(entrypoint)}`);
  if (props !== undefined) parts.push(`props = (json = ${quote(JSON.stringify(props))})`);
  return `(${parts.join(", ")})`;
}

function renderBinding(binding: BindingSpec): string {
  const name = `name = ${quote(binding.name)}`;
  switch (binding.kind) {
    case "service":
      return `(${name}, service = ${renderTarget(binding.target)})`;
    case "json":
      return `(${name}, json = ${quote(JSON.stringify(binding.value))})`;
    case "environment":
      return `(${name}, fromEnvironment = ${quote(binding.variable)})`;
    case "objects":
      return `(${name}, durableObjectNamespace = ${quote(binding.className)})`;
    case "loader":
      return `(${name}, workerLoader = (id = ${quote(binding.id)}))`;
    default:
      return unreachable(binding, "a binding has one of the kinds");
  }
}

/** The constant that holds a worker: names of services may hold hyphens, constants not. */
const constantOf = (name: string): string => `${name.replaceAll(/[^a-z]/gi, "")}Worker`;

function renderWorker(name: string, worker: WorkerSpec): string {
  const lines = [
    `modules = [(name = "main.js", esModule = embed ${quote(worker.moduleFile)})]`,
    `compatibilityDate = ${quote(worker.compatibilityDate)}`,
    `compatibilityFlags = ${texts(worker.compatibilityFlags)}`,
    `bindings = ${list(worker.bindings.map(renderBinding), "  ")}`,
    `globalOutbound = ${quote(worker.outbound)}`,
  ];
  if (worker.objects !== undefined) {
    const classes = worker.objects.classes.map(
      ({ className, uniqueKey }) =>
        `(className = ${quote(className)}, uniqueKey = ${quote(uniqueKey)}, ` +
        `enableSql = true, preventEviction = true)`,
    );
    lines.push(`durableObjectNamespaces = ${list(classes, "  ")}`);
    lines.push(`durableObjectStorage = (localDisk = ${quote(worker.objects.diskService)})`);
  }
  const body = lines.map((line) => `  ${line},\n`).join("");
  return `const ${constantOf(name)} :Workerd.Worker = (\n${body});\n`;
}

function renderService(service: ServiceSpec): string {
  const name = `name = ${quote(service.name)}`;
  switch (service.kind) {
    case "worker":
      return `(${name}, worker = .${constantOf(service.name)})`;
    case "external":
      return `(${name}, external = (${unixAddress(service.socketPath)}, ${http(service)}))`;
    case "disk":
      return `(${name}, disk = (path = ${quote(service.path)}, writable = true))`;
    case "network": {
      const tls = service.trustsBrowserCas ? ", tlsOptions = (trustBrowserCas = true)" : "";
      return `(${name}, network = (allow = ${texts(service.allow)}${tls}))`;
    }
    default:
      return unreachable(service, "a service has one of the kinds");
  }
}

function unixAddress(path: string): string {
  return `address = ${quote(`unix:${path}`)}`;
}

function renderSocket(socket: SocketSpec): string {
  const { name, address, target } = socket;
  const at = address === "" ? "" : `address = ${quote(address)}, `;
  return `(name = ${quote(name)}, ${at}${http(socket)}, service = ${renderTarget(target)})`;
}

function http({ cfHeader }: { readonly cfHeader?: string }): string {
  return cfHeader === undefined ? "http = ()" : `http = (cfBlobHeader = ${quote(cfHeader)})`;
}

/** The whole file. Module files are named relative to it. */
export function renderConfig(config: ConfigSpec): string {
  const workers = config.services.flatMap((service) =>
    service.kind === "worker" ? [renderWorker(service.name, service.worker)] : [],
  );
  return [
    `using Workerd = import "/workerd/workerd.capnp";\n`,
    `const config :Workerd.Config = (`,
    `  services = ${list(config.services.map(renderService), "  ")},`,
    `  sockets = ${list(config.sockets.map(renderSocket), "  ")},`,
    `  v8Flags = ${texts(config.v8Flags)},`,
    `);\n`,
    ...workers,
  ].join("\n");
}

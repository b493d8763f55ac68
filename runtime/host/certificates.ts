/** Certificates for the processes that speak TLS, also on systems that bring none. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import type { Layout } from "./layout.ts";
import { writeWhole } from "./whole-file.ts";

const SYSTEM_STORES = ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem"];
const VARIABLES = ["SSL_CERT_FILE", "SSL_CERT_DIR"] as const;

/** Variables that workerd needs to find certificates; without any it refuses to start. */
export function certificateEnvironment(layout: Layout): Readonly<Record<string, string>> {
  const given = VARIABLES.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  if (given.length > 0) return Object.fromEntries(given);
  if (SYSTEM_STORES.some((path) => existsSync(path))) return {};
  const file = join(layout.dataDir, "workerd", "certificates.pem");
  if (!existsSync(file)) writeWhole(file, `${rootCertificates.join("\n")}\n`, 0o644);
  return { SSL_CERT_FILE: file };
}

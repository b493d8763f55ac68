/**
 * Keeps web pages away from the admin API: a page of another origin may not send to it, and a
 * name that was rebound to this address is not one of its names.
 */
import { IsolaError } from "../contract/index.ts";

/** Names that nobody can rebind: addresses themselves, and what resolvers keep to the machine. */
const OWN_HOST =
  /^(localhost|[a-z0-9.-]+\.localhost|\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:.]+\])(:\d+)?$/i;

/** @throws IsolaError `ORIGIN_REFUSED`. */
export function checkOrigin(
  headers: { get(name: string): string | null },
  allowedHosts: readonly string[],
): void {
  const host = headers.get("host") ?? "";
  const name = host.replace(/:\d+$/, "").toLowerCase();
  if (!OWN_HOST.test(host) && !allowedHosts.includes(name)) {
    throw refused(`host ${JSON.stringify(host.slice(0, 100))}`);
  }
  const origin = headers.get("origin");
  if (origin !== null && !isOriginOf(origin, host)) {
    throw refused(`origin ${JSON.stringify(origin.slice(0, 100))}`);
  }
  const site = headers.get("sec-fetch-site");
  if (site === "cross-site" || site === "same-site") throw refused(`a ${site} request of a page`);
}

function isOriginOf(origin: string, host: string): boolean {
  const lower = origin.toLowerCase();
  return [`http://${host}`, `https://${host}`].some((own) => own.toLowerCase() === lower);
}

function refused(found: string): IsolaError {
  return new IsolaError("ORIGIN_REFUSED", {
    attempted: "use the admin API",
    found,
    required: "the address of the admin listener, and no page of another origin",
  });
}

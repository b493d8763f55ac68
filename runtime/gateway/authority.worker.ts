/**
 * Who asks: the operator's token, or a namespace's. Answers are kept a few seconds, so that calls
 * of functions with `auth: "token"` do not ask the registry each time.
 */
import { type Clock, IsolaError, type Role, roleAllows } from "../contract/index.ts";
import { hashesMatch, namespaceNotFound, sha256Hex, tokenId } from "../registry/index.ts";
import type { RegistryClient } from "../registry/index.worker.ts";

/** Time for which a token is believed without asking; a revocation here takes effect at once. */
const BELIEVED_MS = 5_000;
const TOKENS_KEPT = 1_000;

export interface Principal {
  /** `*`: the operator, every namespace. */
  readonly namespace: string;
  readonly role: Role;
  /** Empty for the operator. */
  readonly tokenId: string;
}

interface Believed {
  readonly principal: Principal;
  readonly untilMs: number;
}

export class Authority {
  readonly #registry: RegistryClient;
  readonly #clock: Clock;
  readonly #adminToken: string;
  readonly #believed = new Map<string, Believed>();
  #adminHash: string | undefined;

  constructor(registry: RegistryClient, adminToken: string, clock: Clock) {
    this.#registry = registry;
    this.#adminToken = adminToken;
    this.#clock = clock;
  }

  /** Errors: `TOKEN_MISSING`, `TOKEN_INVALID`. */
  async authenticate(request: { readonly headers: Headers }): Promise<Principal> {
    const token = bearerToken(request.headers);
    const hash = await sha256Hex(token);
    this.#adminHash ??= await sha256Hex(this.#adminToken);
    if (this.#adminToken !== "" && hashesMatch(hash, this.#adminHash)) {
      return { namespace: "*", role: "admin", tokenId: "" };
    }
    const believed = this.#believed.get(hash);
    if (believed && believed.untilMs > this.#clock.now()) return believed.principal;
    return this.#ask(token, hash);
  }

  /** Forgets what is believed: tokens were revoked. */
  forget(): void {
    this.#believed.clear();
  }

  async #ask(token: string, hash: string): Promise<Principal> {
    const id = tokenId(token);
    if (id === undefined) throw invalidToken();
    const stored = await this.#registry.read("token", { id });
    if (!stored || !hashesMatch(hash, stored.hash)) throw invalidToken();
    const { namespace, role } = stored;
    const principal: Principal = { namespace, role, tokenId: id };
    if (this.#believed.size >= TOKENS_KEPT) this.#believed.clear();
    this.#believed.set(hash, { principal, untilMs: this.#clock.now() + BELIEVED_MS });
    return principal;
  }
}

/**
 * Lets a principal use a namespace in a role.
 *
 * @throws IsolaError `NAMESPACE_NOT_FOUND` for any namespace but its own, there or not;
 * `ROLE_TOO_LOW`.
 */
export function authorize(principal: Principal, namespace: string, needed: Role): void {
  if (principal.namespace !== "*" && principal.namespace !== namespace) {
    throw namespaceNotFound(namespace);
  }
  if (roleAllows(principal.role, needed)) return;
  throw new IsolaError("ROLE_TOO_LOW", {
    attempted: `use namespace ${namespace}`,
    found: `a token of role ${principal.role}`,
    required: `role ${needed}`,
  });
}

/** Lets only the operator's token pass. */
export function authorizeOperator(principal: Principal): void {
  if (principal.namespace === "*") return;
  throw new IsolaError("ROLE_TOO_LOW", {
    attempted: "use what concerns the whole platform",
    found: "a token of one namespace",
    required: "the operator's token",
  });
}

function bearerToken(headers: Headers): string {
  const header = headers.get("authorization");
  if (header === null || header.trim() === "") {
    throw new IsolaError("TOKEN_MISSING", {
      attempted: "authenticate",
      found: "no Authorization header",
    });
  }
  const token = /^Bearer +([^\s]{1,512})$/i.exec(header.trim())?.[1];
  if (token === undefined) throw invalidToken();
  return token;
}

function invalidToken(): IsolaError {
  return new IsolaError("TOKEN_INVALID", {
    attempted: "authenticate",
    found: "a token that is none of this platform's",
  });
}

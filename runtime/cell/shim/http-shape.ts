/** How a value becomes a request to an HTTP function or an address. */

export interface HttpShape {
  /** @default "POST" */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, readonly string[]>>;
}

export interface HttpParts {
  readonly method: string;
  /** With its question mark; empty if there is none. */
  readonly search: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string | Uint8Array<ArrayBuffer> | null;
}

const NO_BODY: ReadonlySet<string> = new Set(["GET", "HEAD"]);

/** Octets and text as they are, everything else as JSON; undefined is no body. */
export function httpParts(
  { method = "POST", headers = {}, query = {} }: HttpShape,
  input: unknown,
  stringify: (value: unknown) => string = JSON.stringify,
): HttpParts {
  const verb = method.toUpperCase();
  const fields = new URLSearchParams();
  for (const [name, values] of Object.entries(query)) {
    for (const value of values) fields.append(name, value);
  }
  const text = fields.toString();
  const search = text === "" ? "" : `?${text}`;
  const given = new Map(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  );
  if (NO_BODY.has(verb) || input === undefined) {
    return { method: verb, search, headers: [...given], body: null };
  }
  const [type, body] = bodyOf(input, stringify);
  return { method: verb, search, headers: [["content-type", type], ...given], body };
}

function bodyOf(
  input: unknown,
  stringify: (value: unknown) => string,
): [type: string, body: string | Uint8Array<ArrayBuffer>] {
  if (input instanceof Uint8Array) {
    return ["application/octet-stream", input as Uint8Array<ArrayBuffer>];
  }
  if (input instanceof ArrayBuffer) return ["application/octet-stream", new Uint8Array(input)];
  return ["application/json", stringify(input)];
}

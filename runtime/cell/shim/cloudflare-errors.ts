/** Errors with Cloudflare's names and texts: code that was written for its API looks at those. */
export function namedError(name: string, message: string): Error {
  return Object.assign(new Error(message), { name });
}

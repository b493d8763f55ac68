/** The registry's pure parts and the shapes of its questions. */
export { bundleText, contentHash, sha256Hex } from "./hashing.ts";
export { namespaceNotFound } from "./namespaces.ts";
export type {
  ChangeName,
  Changes,
  Deployed,
  EndedTick,
  RoutingUpdate,
  Tick,
} from "./operations.ts";
export { importSealKey, sealSecret, unsealSecret } from "./sealing.ts";
export { hashesMatch, makeToken, tokenId } from "./tokens.ts";

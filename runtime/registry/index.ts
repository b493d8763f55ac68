/** The registry's pure parts and the shapes of its questions. */
export { contentHash, bundleText, canonicalJson, sha256Hex } from "./hashing.ts";
export { namespaceNotFound } from "./namespaces.ts";
export type {
  ChangeName,
  Changed,
  Changes,
  DeployInput,
  Deployed,
  Key,
  ReadName,
  Reads,
  RoutingUpdate,
  StoredToken,
  UsageEntry,
  VersionKey,
} from "./operations.ts";
export { type SecretPlace, importSealKey, sealSecret, unsealSecret } from "./sealing.ts";
export { type NewToken, hashesMatch, makeToken, tokenId } from "./tokens.ts";
export type { Share } from "./traffic.ts";

/**
 * Secrets at rest: AES-256-GCM under the seal key, a random nonce each time, and the place of the
 * secret (`namespace/name`) as additional data, so that a value moved elsewhere does not open.
 *
 * Layout, in base64: format byte, 12 bytes of nonce, ciphertext with its tag.
 */
import { IsolaError, type Random } from "../contract/index.ts";

const FORMAT = 1;
const NONCE_BYTES = 12;
const KEY_BYTES = 32;

type SealKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;

export interface SecretPlace {
  readonly namespace: string;
  readonly name: string;
}

/**
 * Takes the key from base64 of 32 bytes.
 *
 * @throws IsolaError `START_FAILED` for anything else.
 */
export async function importSealKey(base64: string): Promise<SealKey> {
  const bytes = decodeBase64(base64);
  if (bytes?.length !== KEY_BYTES) {
    throw new IsolaError("START_FAILED", {
      attempted: "take the key that seals secrets",
      found: bytes === undefined ? "no base64" : `${bytes.length} bytes`,
      required: `base64 of ${KEY_BYTES} bytes`,
      fix: "restore the key file that ISOLA_KEY_FILE names",
    });
  }
  return crypto.subtle.importKey("raw", bytes, { name: "AES-GCM" }, false, ["encrypt", "decrypt"]);
}

export async function sealSecret(
  key: SealKey,
  place: SecretPlace,
  value: string,
  random: Random,
): Promise<string> {
  const nonce = new Uint8Array(random.bytes(NONCE_BYTES));
  const plain = new TextEncoder().encode(value);
  const sealed = await crypto.subtle.encrypt(parameters(nonce, place), key, plain);
  const bytes = new Uint8Array(1 + NONCE_BYTES + sealed.byteLength);
  bytes[0] = FORMAT;
  bytes.set(nonce, 1);
  bytes.set(new Uint8Array(sealed), 1 + NONCE_BYTES);
  return encodeBase64(bytes);
}

/**
 * @throws IsolaError `DATA_CORRUPT` if it was sealed elsewhere, with another key, or is damaged.
 */
export async function unsealSecret(
  key: SealKey,
  place: SecretPlace,
  sealed: string,
): Promise<string> {
  const bytes = decodeBase64(sealed);
  if (bytes === undefined || bytes[0] !== FORMAT || bytes.length <= NONCE_BYTES) {
    throw doesNotOpen(place);
  }
  const nonce = bytes.slice(1, 1 + NONCE_BYTES);
  try {
    const body = bytes.slice(1 + NONCE_BYTES);
    const plain = await crypto.subtle.decrypt(parameters(nonce, place), key, body);
    return new TextDecoder().decode(plain);
  } catch {
    throw doesNotOpen(place);
  }
}

function doesNotOpen(place: SecretPlace): IsolaError {
  return new IsolaError("DATA_CORRUPT", {
    attempted: `open secret ${JSON.stringify(place.name)} of namespace ${place.namespace}`,
    found: "a sealed value that this key does not open",
    required: "the key that sealed it",
    fix: "restore the key file that ISOLA_KEY_FILE names, or put the secret again",
  });
}

function parameters(nonce: Uint8Array<ArrayBuffer>, place: SecretPlace) {
  const additionalData = new TextEncoder().encode(`${place.namespace}/${place.name}`);
  return { name: "AES-GCM" as const, iv: nonce, additionalData };
}

function encodeBase64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  } catch {
    return undefined;
  }
}

/** Titles: repair of their encoding, order of words and spaces; likeness of two titles. */

/** Mac OS Roman from 0x80 to 0xFF, in order. */
const MAC_ROMAN =
  "ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü†°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø" +
  "¿¡¬√ƒ≈∆«»… ÀÃÕŒœ–—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\uF8FFÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ";
/** Windows-1252 from 0x80 to 0x9F; above, it equals Latin-1. */
const WINDOWS_1252 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008DŽ\u008F\u0090‘’“”•–—˜™š›œ\u009DžŸ";

/**
 * Undoes a Windows-1252 text that was read as Mac Roman ("LÈon" was "Léon"). A text with a
 * character that Mac Roman does not have was read rightly and stays.
 */
export function repairEncoding(text: string): string {
  let repaired = "";
  for (const character of text) {
    if (character <= "\u007F") {
      repaired += character;
      continue;
    }
    const index = MAC_ROMAN.indexOf(character);
    if (index === -1) return text;
    repaired += WINDOWS_1252[index] ?? String.fromCharCode(0x80 + index);
  }
  return repaired;
}

/** "Secret, The" → "The Secret". */
export function articleFirst(title: string): string {
  const match = /^(.+), (The|A|An)$/.exec(title);
  return match ? `${match[2]} ${match[1]}` : title;
}

export function singleSpaces(title: string): string {
  return title.trim().replaceAll(/\s+/g, " ");
}

/** Lower case, letters and digits, words joined by `-`: "Léon" → "leon". */
export function slugOf(title: string): string {
  const plain = title.normalize("NFD").replaceAll(/\p{M}/gu, "").toLowerCase();
  return plain.replaceAll(/[^\p{L}\p{N}]+/gu, "-").replaceAll(/^-|-$/g, "");
}

const LONG_WORD = 5;

/** Whether two titles are so alike that a join by title may have confused their films. */
export function looksAlike(one: string, other: string): boolean {
  const [a, b] = [slugOf(one), slugOf(other)].map((slug) => slug.replace(/^(the|a|an)-/, ""));
  if (a === undefined || b === undefined) return false;
  if (a.startsWith(b) || b.startsWith(a)) return true;
  const words = new Set(a.split("-").filter((word) => word.length >= LONG_WORD));
  return b.split("-").some((word) => words.has(word));
}

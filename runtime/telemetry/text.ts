/** Text within bounds: what strangers send is measured in UTF-8 and cut with a mark. */

/** Length in UTF-8 without encoding; a lone surrogate counts as the three bytes of U+FFFD. */
export function utf8Bytes(text: string): number {
  let bytes = text.length;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit < 0x80) continue;
    bytes += unit < 0x800 ? 1 : 2;
    if (unit >= 0xd800 && unit < 0xdc00) {
      const next = text.charCodeAt(index + 1);
      if (next >= 0xdc00 && next < 0xe000) {
        // A pair is two units and four bytes.
        index += 1;
      }
    }
  }
  return bytes;
}

const MARK = "… (cut)";
const MARK_BYTES = 9;

/** `text`, or its beginning and a mark, at most `maxBytes` of UTF-8 and never half a pair. */
export function cutText(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes || utf8Bytes(text) <= maxBytes) return text;
  let bytes = MARK_BYTES;
  let end = 0;
  for (const character of text) {
    bytes += utf8Bytes(character);
    if (bytes > maxBytes) break;
    end += character.length;
  }
  return text.slice(0, end) + MARK;
}

/**
 * Looks at MessagePack before it is decoded: a decoder makes room for what a length announces, so
 * five octets could ask it for gigabytes. Every item takes at least one octet, so a length beyond
 * the octets that follow is a lie. Pure.
 */

/** How many bytes follow the head of a fixed size item, from 0xc0 on; -1: special. */
const SIZES: Readonly<Record<number, number>> = {
  0xc0: 0,
  0xc2: 0,
  0xc3: 0,
  0xca: 4,
  0xcb: 8,
  0xcc: 1,
  0xcd: 2,
  0xce: 4,
  0xcf: 8,
  0xd0: 1,
  0xd1: 2,
  0xd2: 4,
  0xd3: 8,
  0xd4: 2,
  0xd5: 3,
  0xd6: 5,
  0xd7: 9,
  0xd8: 17,
};

/** Width of the length of an item that has one, and what the length counts. */
const LENGTHS: Readonly<Record<number, { width: 1 | 2 | 4; extra: number; perItem: 0 | 1 | 2 }>> = {
  0xc4: { width: 1, extra: 0, perItem: 0 },
  0xc5: { width: 2, extra: 0, perItem: 0 },
  0xc6: { width: 4, extra: 0, perItem: 0 },
  0xc7: { width: 1, extra: 1, perItem: 0 },
  0xc8: { width: 2, extra: 1, perItem: 0 },
  0xc9: { width: 4, extra: 1, perItem: 0 },
  0xd9: { width: 1, extra: 0, perItem: 0 },
  0xda: { width: 2, extra: 0, perItem: 0 },
  0xdb: { width: 4, extra: 0, perItem: 0 },
  0xdc: { width: 2, extra: 0, perItem: 1 },
  0xdd: { width: 4, extra: 0, perItem: 1 },
  0xde: { width: 2, extra: 0, perItem: 2 },
  0xdf: { width: 4, extra: 0, perItem: 2 },
};

interface Head {
  /** Octets of the item itself, its head included. */
  readonly bytes: number;
  /** Items in it. */
  readonly items: number;
}

/** What is wrong with the octets as one MessagePack item; undefined if nothing is. */
export function messagePackFault(bytes: Uint8Array, depthMax: number): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** Items still to come on each level. */
  const open: number[] = [1];
  let at = 0;
  for (;;) {
    while (open.at(-1) === 0) open.pop();
    const level = open.length - 1;
    if (level < 0) break;
    open[level] = (open[level] ?? 0) - 1;
    const head = headAt(view, at);
    if (head === undefined) return "octets that are no MessagePack, or end early";
    at += head.bytes;
    if (head.items > bytes.length - at) return "fewer octets than it announces";
    if (head.items > 0) open.push(head.items);
    if (open.length > depthMax) return `more than ${String(depthMax)} levels`;
  }
  return at === bytes.length ? undefined : "octets after its end";
}

function headAt(view: DataView, at: number): Head | undefined {
  if (at >= view.byteLength) return undefined;
  const head = headOf(view, at, view.getUint8(at));
  return head && at + head.bytes <= view.byteLength ? head : undefined;
}

function headOf(view: DataView, at: number, byte: number): Head | undefined {
  if (byte < 0x80 || byte >= 0xe0) return { bytes: 1, items: 0 };
  if (byte < 0x90) return { bytes: 1, items: 2 * (byte & 0x0f) };
  if (byte < 0xa0) return { bytes: 1, items: byte & 0x0f };
  if (byte < 0xc0) return { bytes: 1 + (byte & 0x1f), items: 0 };
  const size = SIZES[byte];
  if (size !== undefined) return { bytes: 1 + size, items: 0 };
  const form = LENGTHS[byte];
  if (!form || at + 1 + form.width > view.byteLength) return undefined;
  const length = lengthAt(view, at + 1, form.width);
  const own = 1 + form.width + form.extra;
  if (form.perItem === 0) return { bytes: own + length, items: 0 };
  return { bytes: own, items: form.perItem * length };
}

function lengthAt(view: DataView, at: number, width: 1 | 2 | 4): number {
  if (width === 1) return view.getUint8(at);
  return width === 2 ? view.getUint16(at) : view.getUint32(at);
}

/** A function that keeps entries by id. */
const notes = new Map<string, unknown[]>();

export default function note({ id, entry }: { id: string; entry?: unknown }): unknown[] {
  if (entry !== undefined) notes.set(id, [...(notes.get(id) ?? []), entry]);
  return notes.get(id) ?? [];
}

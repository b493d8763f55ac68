/** Counts in an isolate of its own, so that it can be asked what others still did. */
export const COUNTER = `
  const counts = new Map();
  export default ({ name, add }) => {
    if (add) counts.set(name, (counts.get(name) ?? 0) + add);
    return counts.get(name) ?? 0;
  };`;

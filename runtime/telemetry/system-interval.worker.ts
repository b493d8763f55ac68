/** Calls `action` again and again, within the request that asks for it. */
export function every(intervalMs: number, action: () => void): () => void {
  const timer = setInterval(action, intervalMs);
  return () => {
    clearInterval(timer);
  };
}

/** Returns undefined instead of throwing: storage may be forbidden, full or missing, and input may be malformed. */
export function tryTo(use) {
  try {
    return use();
  } catch {}
}

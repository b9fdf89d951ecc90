/** Storages may be forbidden, full or missing; then we do without. */
export function tryTo(use) {
  try {
    return use();
  } catch {
    return undefined;
  }
}

/** Storages may be forbidden, full or missing, and what pages and services say may be wrong; then we do without. */
export function tryTo(use) {
  try {
    return use();
  } catch {}
}

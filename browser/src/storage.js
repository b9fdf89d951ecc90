/** Returns undefined instead of throwing: storage may be forbidden, full or missing, and input may be malformed. */
export function tryTo(use) {
  try {
    return use();
  } catch {}
}

/** Runs what must not keep anything after it from running: an error is only logged. */
export function safely(run) {
  try {
    run();
  } catch (error) {
    console.error("Notifier:", error);
  }
}

/** Whole numbers below a limit, the same ones for the same seed. */
export function chance(seed) {
  let state = seed * 7_919;
  return (limit) => {
    state = (state * 1_103_515_245 + 12_345) & 0x7fffffff;
    return (state >> 8) % limit;
  };
}

/** How many courses to try, of those of a complete run: `make quick` tries a share, in percent. */
export const shareOf = (count) => Math.ceil((count * Number(process.env.SHARE ?? 100)) / 100);

/**
 * Runs random courses, and returns what failed. It is called before the first test(): from then on, Node's test runner
 * follows every promise, which takes longer than the courses.
 */
export async function runCourses(first, count, run) {
  const failures = [];
  for (let seed = first; seed < first + count; seed++) {
    const endings = [];
    try {
      await run({ after: (end) => endings.unshift(end) }, seed);
    } catch (error) {
      failures.push(`course ${seed}: ${error.stack}`);
    } finally {
      for (const end of endings) end();
    }
  }
  return failures;
}

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

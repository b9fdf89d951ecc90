/**
 * Builds the files that pages load: node browser/build.js [output folder, by default notifier/http/static]
 *
 * esbuild bundles the modules, swc minifies them, because its output is smaller.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { minifySync } from "@swc/core";
import { build, transformSync } from "esbuild";

const FILES = ["notifier.js", "notifier-inbox.js"];

// Properties that are shortened: those of internal objects, which no page, service or other tab sees.
const INNER = `
  acked ackedFrom after alive allow begin broadcast callback closed comeBackIn covered declare dial discard fallsBack forget
  fresh goBack greet hasLeader interests isAlive keep knows look lose options over pastOf position post prune
  quit reach reached recall renew reopen reset settle sleep startAt take timer timers tokens triesIn unsubscribe user
  wake wants watchdog welcomed whenGone
`;

const here = fileURLToPath(new URL(".", import.meta.url));
const folder = process.argv[2] ?? join(here, "../notifier/http/static");
const { version, license } = JSON.parse(readFileSync(join(here, "package.json")));

const smallStyles = {
  name: "small styles",
  setup({ onLoad }) {
    onLoad({ filter: /styles\.js$/ }, ({ path }) => ({ contents: minifyStyles(readFileSync(path, "utf8")) }));
  },
};

for (const file of FILES) {
  const options = { bundle: true, format: "esm", target: "es2022", write: false, plugins: [smallStyles] };
  const { outputFiles } = await build({ ...options, entryPoints: [join(here, "src", file)] });
  const mangle = { props: { regex: `^(${INNER.trim().split(/\s+/).join("|")})$` } };
  const compress = { hoist_vars: true, passes: 3, ecma: 2022, unsafe: true, unsafe_arrows: true, unsafe_methods: true };
  const { code } = minifySync(outputFiles[0].text, { module: true, compress, mangle });
  writeFileSync(join(folder, file), `// notifier ${version} | ${license}\n${code}\n`);
}

function minifyStyles(module) {
  const minify = (css) => transformSync(css, { loader: "css", minify: true }).code.trim();
  return module.replace(/\/\* css \*\/ `([^`]*)`/g, (_, css) => JSON.stringify(minify(css)));
}

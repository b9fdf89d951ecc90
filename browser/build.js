/**
 * Makes the one file that pages load: node browser/build.js [where else than notifier/static/notifier.js]
 *
 * esbuild joins the modules, swc makes them small: it is better at that, and every byte is somebody's.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { minifySync } from "@swc/core";
import { build } from "esbuild";

const source = new URL("src/notifier.js", import.meta.url);
const target = process.argv[2] ?? new URL("../notifier/static/notifier.js", import.meta.url);
const { name, version } = JSON.parse(readFileSync(new URL("package.json", import.meta.url)));

// Members of our own objects that neither a page nor the service nor another tab sees.
const INNER = /^(alive|callback|comeBackIn|greet|greeted|line|over|owing|place|say|take|tell|timer|told|whenGone)$/;

const options = { bundle: true, format: "esm", target: "es2022", write: false };
const { outputFiles } = await build({ ...options, entryPoints: [source.pathname] });
const mangle = { props: { regex: INNER.source } };
const compress = { passes: 3, ecma: 2022, unsafe: true, unsafe_arrows: true };
const { code } = minifySync(outputFiles[0].text, { module: true, compress, mangle });
writeFileSync(target, `// ${name} ${version}\n${code}\n`);

/**
 * Makes the one file that pages load: node browser/build.js [where else than notifier/static/notifier.js]
 *
 * esbuild joins the modules, terser makes them small: it is better at that, and every byte is somebody's.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";
import { minify } from "terser";

const source = new URL("src/notifier.js", import.meta.url);
const target = process.argv[2] ?? new URL("../notifier/static/notifier.js", import.meta.url);
const { name, version } = JSON.parse(readFileSync(new URL("package.json", import.meta.url)));

const options = { bundle: true, format: "esm", target: "es2022", minifySyntax: true, write: false };
const { outputFiles } = await build({ ...options, entryPoints: [source.pathname] });
const { code } = await minify(outputFiles[0].text, { module: true, ecma: 2020, compress: { passes: 3 } });
writeFileSync(target, `/* ${name} ${version}: made from browser/src by "make browser" */\n${code}\n`);

// Bundles the console's scripts and styles into ../src/tianlu_console/static/dist.
//
// Output: files with a hash of their content in the name, a .gz beside each compressible one, the icon sprite,
// THIRD-PARTY.txt with the licence of every bundled package, and last manifest.json {inputs, files}. The
// manifest is written last so that a build that was interrupted counts as stale. Run by hatch_build.py,
// which passes the digest of all inputs in TIANLU_FRONTEND_INPUTS.

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const modules = path.join(here, "node_modules");
const dist = path.join(here, "..", "src", "tianlu_console", "static", "dist");
// What each icon's own <svg> says of its lines; a <symbol> loses that element and so must say it itself.
const STROKES = 'fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"';
const COMPRESSIBLE = new Set([".js", ".css", ".svg", ".txt"]);

async function main() {
  await rm(dist, { recursive: true, force: true });
  await mkdir(dist, { recursive: true });
  const files = {};
  const packages = new Set(["@tabler/icons"]);
  await bundle(files, packages);
  await sprite(files);
  await favicon(files);
  await notices(files, packages);
  await compress();
  const manifest = { inputs: process.env.TIANLU_FRONTEND_INPUTS ?? "", files };
  await writeFile(path.join(dist, "manifest.json"), JSON.stringify(manifest, null, 2) + "\n");
}

async function bundle(files, packages) {
  const result = await esbuild.build({
    absWorkingDir: here,
    entryPoints: ["src/app.js", "src/theme.js", "src/app.css"],
    outdir: dist,
    bundle: true,
    minify: true,
    format: "iife",
    target: ["chrome123", "firefox120", "safari17.5"],
    entryNames: "[name]-[hash]",
    assetNames: "[name]-[hash]",
    legalComments: "eof",
    loader: { ".woff2": "file" },
    metafile: true,
    logLevel: "warning",
  });
  for (const [output, facts] of Object.entries(result.metafile.outputs)) {
    if (facts.entryPoint) files[path.basename(facts.entryPoint)] = path.basename(output);
  }
  for (const input of Object.keys(result.metafile.inputs)) {
    const match = input.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//);
    if (match) packages.add(match[1]);
  }
}

/** One <symbol> per icon named in icons.txt: the package holds thousands, a page needs a few dozen. */
async function sprite(files) {
  const names = (await readFile(path.join(here, "icons.txt"), "utf8"))
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line && !line.startsWith("#"));
  const symbols = [];
  for (const name of names) {
    const source = path.join(modules, "@tabler", "icons", "icons", "outline", `${name}.svg`);
    const svg = await readFile(source, "utf8");
    const body = svg.slice(svg.indexOf(">", svg.indexOf("<svg")) + 1, svg.lastIndexOf("</svg>"));
    symbols.push(`<symbol id="${name}" viewBox="0 0 24 24" ${STROKES}>${body.trim()}</symbol>`);
  }
  const text = `<svg xmlns="http://www.w3.org/2000/svg">${symbols.join("")}</svg>\n`;
  await writeHashed(files, "icons.svg", text);
}

async function favicon(files) {
  await writeHashed(files, "favicon.svg", await readFile(path.join(here, "src", "favicon.svg"), "utf8"));
}

async function writeHashed(files, name, text) {
  const digest = createHash("sha256").update(text).digest("hex").slice(0, 8).toUpperCase();
  const { name: stem, ext } = path.parse(name);
  files[name] = `${stem}-${digest}${ext}`;
  await writeFile(path.join(dist, files[name]), text);
}

/** The licences ask that their text travels with the copy. A package without a licence file is named with what it declares. */
async function notices(files, packages) {
  const parts = [];
  for (const name of [...packages].sort()) {
    const root = path.join(modules, name);
    const facts = JSON.parse(await readFile(path.join(root, "package.json"), "utf8"));
    const { version, license, author } = facts;
    const texts = (await readdir(root)).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file));
    const bodies = await Promise.all(texts.map((file) => readFile(path.join(root, file), "utf8")));
    if (bodies.length === 0) bodies.push(`${license}, as its package.json declares; by ${author?.name ?? author}\n`);
    parts.push(`${name} ${version} (${license})\n${"=".repeat(72)}\n${bodies.join("\n")}`);
  }
  files["THIRD-PARTY.txt"] = "THIRD-PARTY.txt";
  await writeFile(path.join(dist, "THIRD-PARTY.txt"), parts.join("\n\n"));
}

async function compress() {
  for (const file of await readdir(dist)) {
    if (!COMPRESSIBLE.has(path.extname(file))) continue;
    const bytes = await readFile(path.join(dist, file));
    await writeFile(path.join(dist, `${file}.gz`), gzipSync(bytes, { level: 9 }));
  }
}

await main();

// Builds a plugin: `node {sdk}/js/build.mjs transform plugin.js name.wasm`. Bundles the plugin with
// its imports and the SDK (esbuild), then puts the bundle into a component (componentize-qjs).
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const WORLDS = { transform: "feature-transform", loss: "loss", sampler: "negative-sampler" };

function run(command, options) {
  const { error, status, stdout, stderr } = spawnSync(command, options, {
    encoding: "utf8",
    shell: process.platform === "win32", // npm's commands are .cmd files there
  });
  if (error) throw new Error(`${command} did not start: ${error.message}`);
  if (status !== 0) throw new Error(`${stdout}${stderr}`.trim());
}

const [kind, source, output] = process.argv.slice(2);
const here = path.dirname(fileURLToPath(import.meta.url));
const work = mkdtempSync(path.join(tmpdir(), "rectool-js-"));
try {
  const bundle = path.join(work, "bundle.js");
  run("esbuild", [
    path.join(here, "glue", `${kind}.ts`), "--bundle", "--format=esm", "--target=es2022", "--log-level=warning",
    `--alias:plugin=${path.resolve(source)}`, `--alias:rectool-plugin=${path.join(here, "rectool.ts")}`, `--outfile=${bundle}`,
  ]);
  run("componentize-qjs", [
    "--wit", path.join(here, "..", "wit", "v1"), "--world", WORLDS[kind], "--js", bundle, "--sync", "--stub-wasi", "--output", output,
  ]);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true });
}

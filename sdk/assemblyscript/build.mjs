// Builds a plugin: `node {sdk}/assemblyscript/build.mjs plugin.ts name.wasm`. The compiler finds its
// transforms by absolute path alone, which a plugin.toml cannot say.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const [source, output] = process.argv.slice(2);
const { error, status } = spawnSync("asc", [
  source, "--lib", path.join(here, "lib"), "--transform", path.join(here, "exports.mjs"), "--runtime", "minimal",
  "--use", "abort=", "--enable", "simd", "-O3", "--converge", "--noAssert", "-o", output,
], { stdio: "inherit", shell: process.platform === "win32" }); // npm's commands are .cmd files there
if (error) console.error(`asc did not start: ${error.message}`);
process.exitCode = status ?? 1;

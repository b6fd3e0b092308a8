// What componentize-qjs turns into a sampler, around the plugin's class.
import Plugin from "plugin";
import { Random } from "rectool-plugin";
import { describe, exact, parametersFrom, refusing } from "./contract";

const plugin = new Plugin();
const nowhere = () => null;

export const about = { describe: () => describe(plugin.about) };

export const sampler = {
  configure: (parameters, items) =>
    refusing(() => {
      exact(items.ids, nowhere, "id");
      plugin.configure(parametersFrom(parameters), items);
    }),
  // The toolchain rounds a seed to its 53 highest bits, which the host mixes well.
  sample: (positives, count, seed) =>
    refusing(() => plugin.sample(exact(positives, (i) => i, "id"), count, new Random(seed))),
};

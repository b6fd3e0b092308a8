// What componentize-qjs turns into a loss, around the plugin's class.
import Plugin from "plugin";
import { columnFrom, describe, parametersFrom, refusing, typeFrom } from "./contract";

const plugin = new Plugin();

export const about = { describe: () => describe(plugin.about) };

export const objective = {
  configure: (parameters) =>
    refusing(() => {
      const { prediction, labels, columns } = plugin.configure(parametersFrom(parameters));
      return { prediction, labels, columns: columns ?? [] };
    }),
  bind: (columns) => refusing(() => plugin.bind(columns.map(typeFrom))),
  evaluate: (logits, labels, weights, columns) =>
    refusing(() =>
      plugin.evaluate({
        logits,
        labels,
        weights: weights.length > 0 ? weights : null,
        columns: columns.map((column) => columnFrom(logits.length, column)),
      })
    ),
};

// What componentize-qjs turns into a transform, around the plugin's class.
import Plugin from "plugin";
import { columnFrom, columnTo, describe, parametersFrom, refusing, typeFrom, typeTo } from "./contract";

const plugin = new Plugin();

export const about = { describe: () => describe(plugin.about) };

export const transform = {
  configure: (parameters, inputs) =>
    refusing(() => plugin.configure(parametersFrom(parameters), inputs.map(typeFrom)).map(typeTo)),
  apply: (rows, columns) =>
    refusing(() =>
      plugin.apply(rows, columns.map((column) => columnFrom(rows, column))).map((column) => columnTo(rows, column))
    ),
};

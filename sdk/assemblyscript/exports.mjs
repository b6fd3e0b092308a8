// Names the exports as the contract does: `transform_apply` becomes `rectool:plugin/transform@1.0.0#apply`.
// AssemblyScript has no way to write such a name; `asc --transform` runs this after compiling.

const KINDS = {
  transform: ["transform_configure", "transform_apply"],
  loss: ["objective_configure", "objective_bind", "objective_evaluate"],
  sampler: ["sampler_configure", "sampler_sample"],
};

export default class ContractNames {
  afterCompile(module) {
    for (const [kind, functions] of Object.entries(KINDS)) {
      for (const name of ["about_describe", ...functions]) {
        const internal = `~lib/rectool/${kind}/${name}`;
        if (!module.getFunction(internal)) continue;
        const [face, method] = name.split("_");
        module.removeExport(name);
        module.addFunctionExport(internal, `rectool:plugin/${face}@1.0.0#${method}`);
      }
    }
  }
}

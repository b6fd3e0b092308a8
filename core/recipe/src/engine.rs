//! The script engine: its limits, and the way from a script file to its end.

use std::sync::Arc;

use rhai::packages::{
    BasicArrayPackage, BasicMapPackage, BasicMathPackage, CorePackage, LogicPackage,
    MoreStringPackage, Package,
};
use rhai::{AST, ASTNode, Dynamic, Engine, Expr, OptimizationLevel, Scope, Stmt};

use crate::error::RecipeError;
use crate::imports::{Imports, SearchPath};
use crate::session::Session;
use crate::translate::Translator;

/// Operations one script may run. A recipe describes a job in some hundred; a loop over samples, the
/// likely mistake, meets this after a few seconds.
const OPERATIONS_MAX: u64 = 50_000_000;
/// Depth of calls between script functions.
const CALL_LEVELS_MAX: usize = 64;
/// Depth of one expression, outside and inside of functions.
const EXPRESSION_DEPTH_MAX: usize = 64;
/// Bytes of one string.
const STRING_BYTES_MAX: usize = 1 << 20;
/// Items of one array, and entries of one map.
const ITEMS_MAX: usize = 1 << 16;
/// Modules one script may import, also indirectly.
const MODULES_MAX: usize = 64;
/// Variables and functions of one script.
const NAMES_MAX: usize = 4096;

/// Words of the language that recipes do without.
pub(crate) const FORBIDDEN: [&str; 2] = ["eval", "try"];

/// An engine that can compute, and read nothing: no clock, no files, no evaluation of text.
///
/// # Determinism
/// Every rank that runs the same text with the same parameters calls the same functions in the same
/// order. `try` is left out because an error caught on one rank alone would break that.
pub(crate) fn new_engine(session: &Arc<Session>, search: SearchPath) -> Engine {
    let mut engine = Engine::new_raw();
    CorePackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    BasicMathPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);
    engine
        .set_max_operations(OPERATIONS_MAX)
        .set_max_call_levels(CALL_LEVELS_MAX)
        .set_max_expr_depths(EXPRESSION_DEPTH_MAX, EXPRESSION_DEPTH_MAX)
        .set_max_string_size(STRING_BYTES_MAX)
        .set_max_array_size(ITEMS_MAX)
        .set_max_map_size(ITEMS_MAX)
        .set_max_modules(MODULES_MAX)
        .set_max_variables(NAMES_MAX)
        .set_max_functions(NAMES_MAX)
        .set_strict_variables(true)
        .set_fail_on_invalid_map_property(true)
        .set_optimization_level(OptimizationLevel::None);
    for word in FORBIDDEN {
        engine.disable_symbol(word);
    }
    if session.comm.rank() == 0 {
        engine.on_print(|text| tracing::info!("{text}"));
        engine.on_debug(|text, source, position| {
            tracing::debug!("{}:{position:?}: {text}", source.unwrap_or_default());
        });
    } else {
        engine.on_print(|_| {});
        engine.on_debug(|_, _, _| {});
    }
    engine.set_module_resolver(Imports::new(session.clone(), search));
    crate::functions::register(&mut engine, session);
    engine
}

/// Runs the script to its end.
pub(crate) fn run_script(
    engine: &Engine,
    session: &Arc<Session>,
    text: &str,
) -> Result<(), RecipeError> {
    session.add_source(&session.recipe, text);
    let parsed = engine.compile(text);
    let mut ast = parsed.map_err(|error| Translator::new(&session.recipe).parse_error(&error))?;
    ast.set_source(session.recipe.as_str());
    let names = Names::of(&ast);
    if let Some(known) = &names.parameters {
        // Everything that can be set is known before the first line runs.
        session.parameters().check_known(&session.recipe, known)?;
    }
    let translator = Translator::with_names(&session.recipe, names);
    let result = engine.eval_ast_with_scope::<Dynamic>(&mut Scope::new(), &ast);
    result.map(drop).map_err(|error| translator.error(*error))?;
    session.parameters().check_known(&session.recipe, &[])
}

/// Names that a script defines, for hints.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) functions: Vec<String>,
    pub(crate) variables: Vec<String>,
    /// All parameters, unless some are declared under computed names or in imported modules.
    pub(crate) parameters: Option<Vec<String>>,
}

impl Names {
    fn of(ast: &AST) -> Self {
        let mut names = Self { parameters: Some(Vec::new()), ..Self::default() };
        names.functions = ast.iter_functions().map(|function| function.name.to_owned()).collect();
        ast.walk(&mut |path: &[ASTNode<'_>]| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::Var(variable, ..))) => {
                    names.variables.push(variable.0.name.to_string());
                }
                Some(ASTNode::Stmt(Stmt::Import(..))) => names.parameters = None,
                Some(
                    ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _)),
                ) if call.name == "param" => match (call.args.first(), &mut names.parameters) {
                    (Some(Expr::StringConstant(name, _)), Some(known)) => {
                        known.push(name.to_string());
                    }
                    _ => names.parameters = None,
                },
                _ => {}
            }
            true
        });
        names
    }
}

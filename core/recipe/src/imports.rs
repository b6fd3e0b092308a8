//! `import`: recipe modules from a search path, and from nowhere else.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};

use crate::call::{place_at, raise};
use crate::error::{Place, RecipeError, did_you_mean};
use crate::session::Session;
use crate::translate::Translator;

/// The folders modules are looked for in, first match wins.
#[derive(Clone, Debug, Default)]
pub(crate) struct SearchPath(Vec<PathBuf>);

impl SearchPath {
    /// The recipe's own folder, `scripts` below the current folder, those given, and the user's.
    pub(crate) fn new(recipe: &Path, given: &[PathBuf]) -> Self {
        let mut folders = Vec::new();
        let own = recipe.parent().map(Path::to_path_buf).unwrap_or_default();
        folders.push(if own.as_os_str().is_empty() { PathBuf::from(".") } else { own });
        folders.push(PathBuf::from("scripts"));
        folders.extend_from_slice(given);
        folders.extend(user_folder());
        let mut unique: Vec<PathBuf> = Vec::new();
        for folder in folders {
            if !unique.contains(&folder) {
                unique.push(folder);
            }
        }
        Self(unique)
    }

    /// The file of the module `name`, or why there is none, and a hint.
    fn find(&self, name: &str) -> Result<PathBuf, (String, Option<String>)> {
        let mut file = PathBuf::from(name);
        let plain = file.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || name.is_empty() {
            let message = format!("import of '{name}': a module's name is a relative path");
            let hint = "'..', '/' and drives are not allowed; add its folder by --recipe-path";
            return Err((message, Some(hint.to_owned())));
        }
        if file.extension().is_none_or(|extension| extension != "rhai") {
            file.as_mut_os_string().push(".rhai");
        }
        for folder in &self.0 {
            let candidate = folder.join(&file);
            if !candidate.is_file() {
                continue;
            }
            // A link may point out of the folder.
            let inside = match (candidate.canonicalize(), folder.canonicalize()) {
                (Ok(found), Ok(folder)) => found.starts_with(folder),
                _ => false,
            };
            if !inside {
                let shown = candidate.display();
                return Err((format!("import of '{name}': {shown} leads out of its folder"), None));
            }
            return Ok(candidate);
        }
        let folders: Vec<String> = self.0.iter().map(|path| path.display().to_string()).collect();
        let message = format!("there is no module '{name}' in {}", folders.join(", "));
        Err((message, self.nearest(name)))
    }

    fn nearest(&self, name: &str) -> Option<String> {
        let mut known = Vec::new();
        for entry in self.0.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "rhai") {
                known.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
            }
        }
        did_you_mean(name, known.iter().map(String::as_str))
    }
}

fn user_folder() -> Option<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let data = data.filter(|path| path.is_absolute()).or_else(|| {
        std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local").join("share"))
    });
    Some(data?.join("rectool").join("recipes"))
}

/// Loads modules, each once.
pub(crate) struct Imports {
    session: Arc<Session>,
    search: SearchPath,
    loaded: Mutex<BTreeMap<PathBuf, Shared<Module>>>,
    loading: Mutex<Vec<PathBuf>>,
}

const FREE: &str = "modules load one after another";

impl Imports {
    pub(crate) fn new(session: Arc<Session>, search: SearchPath) -> Self {
        Self { session, search, loaded: Mutex::default(), loading: Mutex::default() }
    }

    fn load(
        &self,
        engine: &Engine,
        place: &Place,
        name: &str,
    ) -> Result<Shared<Module>, RecipeError> {
        let found = self.search.find(name);
        let path = found.map_err(|(what, hint)| RecipeError::script(place.clone(), what, hint))?;
        if let Some(module) = self.loaded.lock().expect(FREE).get(&path) {
            return Ok(module.clone());
        }
        if self.loading.lock().expect(FREE).contains(&path) {
            let message = format!("import of '{name}': {} imports itself", path.display());
            return Err(RecipeError::script(place.clone(), message, None));
        }
        self.loading.lock().expect(FREE).push(path.clone());
        let module = self.build(engine, &path);
        self.loading.lock().expect(FREE).pop();
        let module = Shared::new(module?);
        self.loaded.lock().expect(FREE).insert(path, module.clone());
        Ok(module)
    }

    fn build(&self, engine: &Engine, path: &Path) -> Result<Module, RecipeError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| RecipeError::Read { path: path.to_owned(), source })?;
        self.session.add_source(&file, &text);
        let translator = Translator::new(&file);
        let mut ast = engine.compile(&text).map_err(|error| translator.parse_error(&error))?;
        ast.set_source(file.as_str());
        Module::eval_ast_as_new(Scope::new(), &ast, engine)
            .map_err(|error| translator.error(*error))
    }
}

impl ModuleResolver for Imports {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        position: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        let place = place_at(source.unwrap_or(&self.session.recipe), position);
        self.load(engine, &place, path).map_err(raise)
    }
}

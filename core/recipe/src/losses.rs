//! `loss`, `classes` and `heads`: what a model learns.

use rectool_base::limits::MLP_WIDTH_MAX;
use rectool_model::{HeadSpec, LossSpec};
use rhai::{Dynamic, Map};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::call::Call;
use crate::error::{RecipeError, did_you_mean};
use crate::features::{FeatureSet, check_single};
use crate::options::{Options, entry, one};
use crate::plugin::Plugin;
use crate::values::described;

/// What a loss may be.
const LOSSES: &str = "\"bce\", \"mse\", \"softmax\" or a plugin such as \
                      plugin(\"focal-loss\", #{gamma: 2.0})";
/// Those that are no plugins.
const NATIVE: [&str; 3] = ["bce", "mse", "softmax"];

/// One entry of `heads`.
#[derive(Deserialize)]
struct Head {
    label: String,
    /// Taken out before; here so that a typo of another key is not told that there is none.
    #[expect(dead_code, reason = "a plugin is no plain value")]
    #[serde(default)]
    loss: Option<IgnoredAny>,
    classes: Option<usize>,
    #[serde(default = "one")]
    weight: f32,
    #[serde(default)]
    layers: Vec<usize>,
}

/// The loss of a model with one label: a plugin, or the name of a native one; an absent option means
/// "bce".
pub(crate) fn loss_of(options: &mut Options<'_>) -> Result<LossSpec, RecipeError> {
    let value = options.noun::<Dynamic>("loss", LOSSES)?;
    let classes = options.noun::<Dynamic>("classes", "a whole number")?;
    let classes = classes.map(|value| {
        let count = value.as_int().map(|count| usize::try_from(count).unwrap_or(0));
        count.map_err(|_| {
            let what = format!("expects a whole number, found {}", described(&value));
            options.refuse("classes", &what, None)
        })
    });
    spec_of(options, ("loss", "classes"), value, classes.transpose()?)
}

/// The loss `value`, which with its classes stands at these keys.
fn spec_of(
    options: &Options<'_>,
    (at, at_classes): (&str, &str),
    value: Option<Dynamic>,
    classes: Option<usize>,
) -> Result<LossSpec, RecipeError> {
    let Some(value) = value else { return native(options, (at, at_classes), "bce", classes) };
    if let Some(plugin) = value.clone().try_cast::<Plugin>() {
        let call = plugin.of_kind("loss");
        let call = call.map_err(|what| options.refuse(at, &what, None))?;
        if classes.is_some() {
            return Err(no_classes(options, at_classes, &call.name));
        }
        return Ok(LossSpec::Plugin(call));
    }
    match value.clone().into_string() {
        Ok(name) if NATIVE.contains(&name.as_str()) => {
            native(options, (at, at_classes), &name, classes)
        }
        Ok(name) => {
            let hint = did_you_mean(&name, NATIVE);
            let hint = hint.unwrap_or_else(|| format!("write loss: plugin(\"{name}\")"));
            Err(options.refuse(at, &format!("is '{name}', expected {LOSSES}"), Some(hint)))
        }
        Err(_) => {
            let found = described(&value);
            Err(options.refuse(at, &format!("expects {LOSSES}, found {found}"), None))
        }
    }
}

/// One of the native losses.
fn native(
    options: &Options<'_>,
    (at, at_classes): (&str, &str),
    name: &str,
    classes: Option<usize>,
) -> Result<LossSpec, RecipeError> {
    match (name, classes) {
        ("softmax", Some(classes)) if (2..=MLP_WIDTH_MAX).contains(&classes) => {
            Ok(LossSpec::Softmax { classes })
        }
        ("softmax", Some(classes)) => {
            let what = format!("is {classes}, expected 2 to {MLP_WIDTH_MAX}");
            let hint = "labels are the numbers of classes, from 0; two of them are also \"bce\"";
            Err(options.refuse(at_classes, &what, Some(hint.to_owned())))
        }
        ("softmax", None) => {
            let hint = "write loss: \"softmax\", classes: 5".to_owned();
            Err(options.refuse(at, "is 'softmax' without 'classes'", Some(hint)))
        }
        ("mse", None) => Ok(LossSpec::Mse),
        (_, None) => Ok(LossSpec::Bce),
        (_, Some(_)) => Err(no_classes(options, at_classes, name)),
    }
}

fn no_classes(options: &Options<'_>, at: &str, loss: &str) -> RecipeError {
    let hint = "write loss: \"softmax\" to tell classes apart".to_owned();
    options.refuse(at, &format!("goes with the loss \"softmax\", found '{loss}'"), Some(hint))
}

/// What a model learns besides its heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Nothing: `loss` is instead of heads.
    Nothing,
    /// What its towers make small, which `loss` may be about.
    Objective,
}

/// The heads of a model, if it has any.
pub(crate) fn heads_of(
    call: &Call,
    options: &mut Options<'_>,
    features: &FeatureSet,
    beside: Beside,
) -> Result<Vec<HeadSpec>, RecipeError> {
    if !options.has("heads") {
        options.values("heads")?;
        return Ok(Vec::new());
    }
    if beside == Beside::Nothing && (options.has("loss") || options.has("classes")) {
        let hint = "write it into the head: #{label: \"click\", loss: \"bce\"}".to_owned();
        return Err(options.refuse("heads", "have losses of their own beside 'loss'", Some(hint)));
    }
    let entries = options.values("heads")?;
    if entries.is_empty() {
        let hint = "write heads: [#{label: \"click\"}], or leave it out".to_owned();
        return Err(options.refuse("heads", "is empty", Some(hint)));
    }
    let head = |(at, value): (usize, &Dynamic)| {
        let mut plain = value.clone();
        let loss = plain.write_lock::<Map>().and_then(|mut map| map.remove("loss"));
        let Head { label, classes, weight, layers, .. } = entry(call, ("heads", at), &plain)?;
        let path = |key: &str| format!("heads[{at}].{key}");
        let loss = spec_of(options, (&path("loss"), &path("classes")), loss, classes)?;
        check_single(options, &features.chained, ("heads", &label))?;
        options.widths(&path("layers"), &layers)?;
        Ok(HeadSpec { label, loss, weight, layers })
    };
    entries.iter().enumerate().map(head).collect()
}

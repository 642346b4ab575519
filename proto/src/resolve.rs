//! `${VAR}` in Tasks and Functions: a template and its inputs in, the same with every variable replaced out.
//!
//! 1. **On values, not on text.** Each string of the parsed object is substituted by itself, so that no input can add a
//!    field, end a list or break the document, whatever it contains. Stash substituted in JSON text. Keys stay as they are.
//! 2. **The grammar is Stash's** ([`text`] has it); what is neither a variable nor an escape stays: `$(VAR)` is for the
//!    kubelet.
//! 3. **An input is not looked at again**: `${…}` in a value stays as it is.
//! 4. **Errors name the place**: which object, which field, which variable.

mod expression;
mod pattern;

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::crd::{FunctionSpec, TaskSpec};

/// Values of variables by name.
pub type Inputs = BTreeMap<String, String>;

/// Defaults within defaults: more than anybody writes, few enough for any stack.
const DEPTH_MAX: usize = 16;

/// A string cannot be substituted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubstitutionError {
    /// A variable has neither a value nor a default.
    #[error("input/default value not found for key {name}")]
    Missing {
        /// Name of the variable.
        name: String,
    },
    /// What follows `${` is no expression.
    #[error("bad substitution: {token}")]
    Bad {
        /// What was read, from `${` on.
        token: String,
    },
}

/// An object cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// A string in it cannot be substituted.
    #[error("resolve {field} of {object}")]
    Field {
        /// The object, as `Function update-status`.
        object: String,
        /// Path of the field, as `spec.args[3]`.
        field: String,
        /// What is wrong with it.
        #[source]
        source: SubstitutionError,
    },
    /// What came out is not of the object's type.
    #[error("read {object} after resolving its variables")]
    Form {
        /// The object.
        object: String,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
}

/// `task` with every variable replaced.
///
/// # Errors
/// [`ResolveError`] of the first field that cannot be.
pub fn task(name: &str, task: &TaskSpec, inputs: &Inputs) -> Result<TaskSpec, ResolveError> {
    object(format!("Task {name}"), task, inputs)
}

/// `function` with every variable replaced.
///
/// # Errors
/// [`ResolveError`] of the first field that cannot be.
pub fn function(name: &str, function: &FunctionSpec, inputs: &Inputs) -> Result<FunctionSpec, ResolveError> {
    object(format!("Function {name}"), function, inputs)
}

fn object<T: Serialize + DeserializeOwned>(name: String, spec: &T, inputs: &Inputs) -> Result<T, ResolveError> {
    let mut value = serde_json::to_value(spec).expect("a spec must be JSON: it was read from it");
    if let Err((field, source)) = substitute(&mut value, "spec", inputs) {
        return Err(ResolveError::Field { object: name, field, source });
    }
    serde_json::from_value(value).map_err(|source| ResolveError::Form { object: name, source })
}

/// Substitutes every string in `value`; an error comes with the path of its field.
fn substitute(value: &mut Value, path: &str, inputs: &Inputs) -> Result<(), (String, SubstitutionError)> {
    match value {
        Value::String(template) => {
            *template = text(template, inputs).map_err(|error| (path.to_owned(), error))?;
            Ok(())
        }
        Value::Array(items) => {
            let mut items = items.iter_mut().enumerate();
            items.try_for_each(|(index, item)| substitute(item, &format!("{path}[{index}]"), inputs))
        }
        Value::Object(fields) => {
            let mut fields = fields.iter_mut();
            fields.try_for_each(|(name, field)| substitute(field, &format!("{path}.{name}"), inputs))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// `template` with every variable replaced.
///
/// | written | becomes |
/// |---|---|
/// | `${NAME}`, `${NAME:?d}`, `${NAME:+d}` | the value; an error without one |
/// | `${NAME:=d}`, `${NAME=d}`, `${NAME:-d}` | the value, also an empty one; without one `d`, which may have variables itself |
/// | `${#NAME}` | number of characters of the value |
/// | `${NAME,}` `${NAME,,}` `${NAME^}` `${NAME^^}` | the value with the first or every character in lower or upper case |
/// | `${NAME:offset}` `${NAME:offset:length}` | a part of it; a negative offset counts from the end |
/// | `${NAME#p}` `${NAME##p}` `${NAME%p}` `${NAME%%p}` | without the shortest or longest start or end that `p` matches (`*`, `?`, `[a-z]`) |
/// | `${NAME/a/b}` `${NAME//a/b}` `${NAME/#a/b}` `${NAME/%a/b}` | with `b` for the first `a`, each one, the one at the start or at the end |
/// | `$$` | `$` |
/// | `\\`, `\/` | `\`, `/` |
///
/// A name has letters, digits and `_`. An expression ends at the first `}`.
///
/// # Errors
/// [`SubstitutionError`] where a value is missing or an expression is none of these.
pub fn text(template: &str, inputs: &Inputs) -> Result<String, SubstitutionError> {
    nested(template, inputs, 0)
}

fn nested(template: &str, inputs: &Inputs, depth: usize) -> Result<String, SubstitutionError> {
    if depth > DEPTH_MAX {
        return Err(SubstitutionError::Bad { token: template.to_owned() });
    }
    let mut result = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find(['$', '\\']) {
        let (plain, special) = rest.split_at(at);
        result.push_str(plain);
        let read = if let Some(expression) = special.strip_prefix("${") {
            let end = end(expression).ok_or_else(|| SubstitutionError::Bad { token: special.to_owned() })?;
            result.push_str(&expression::value(&expression[..end], inputs, depth)?);
            "${".len() + end + "}".len()
        } else {
            let (read, literal) = escape(special);
            result.push_str(literal);
            read
        };
        rest = &special[read..];
    }
    result.push_str(rest);
    Ok(result)
}

/// Where the expression ends that begins here: the first `}` that belongs to no variable inside.
fn end(expression: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut before = '\0';
    for (at, one) in expression.char_indices() {
        match one {
            '{' if before == '$' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        // Of `$$` the second one begins nothing.
        before = if one == '$' && before == '$' { '\0' } else { one };
    }
    None
}

/// What stands at the start of `text`, which is `$` or `\`: its length, and what becomes of it.
fn escape(text: &str) -> (usize, &str) {
    match text.as_bytes() {
        [b'$', b'$', ..] => (2, "$"),
        [b'\\', b'\\', ..] => (2, "\\"),
        [b'\\', b'/', ..] => (2, "/"),
        _ => (1, &text[..1]),
    }
}

#[cfg(test)]
mod tests;

//! Reading the configuration: the defaults that are compiled in, then a file, then the environment.

use std::path::Path;

use config::{Environment, File, FileFormat, Map};

use super::problem::variable;
use super::{Config, Problem};

/// Every key with its default and its meaning: the reference, and the defaults themselves.
pub const DEFAULTS: &str = include_str!("../../../../config.default.toml");

/// The keys that hold lists, separated by commas in the environment.
const LISTS: [&str; 3] = ["network.allow", "throttle.urls", "worker.workloads"];

/// Reads the configuration. `variables` are the process's environment, given so that tests have their own.
pub fn load(file: Option<&Path>, variables: Vec<(String, String)>) -> Result<Config, Problem> {
    let mut sources = config::Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
    if let Some(path) = file {
        // Read here rather than by the library, so that a missing file and a malformed one are told apart.
        let text = std::fs::read_to_string(path).map_err(|error| Problem {
            key: String::new(),
            wrong: format!("the file {} cannot be read: {error}", path.display()),
            remedy: "check the path given with --config or LOCKSTEP_CONFIG, and its permissions".to_owned(),
        })?;
        sources = sources.add_source(File::from_str(&text, FileFormat::Toml));
    }
    let (lists, values): (Map<String, String>, Map<String, String>) = variables
        .into_iter()
        .filter(|(name, _)| name.starts_with("LOCKSTEP__"))
        .partition(|(name, _)| LISTS.iter().any(|key| *name == variable(key)));
    // A list is taken apart; everything else stays the text it is until its key says what it must be, so that a token of
    // digits is never read as a number.
    let mut environment =
        Environment::with_prefix("LOCKSTEP").prefix_separator("__").separator("__").ignore_empty(true);
    sources = sources.add_source(environment.clone().source(Some(values)));
    environment = environment.try_parsing(true).list_separator(",");
    for key in LISTS {
        environment = environment.with_list_parse_key(key);
    }
    let environment = environment.source(Some(lists));
    let merged = sources.add_source(environment).build().map_err(|error| Problem {
        key: String::new(),
        wrong: without_values(&error.to_string()),
        remedy: "see config.default.toml for every key and its form (`lockstep config` prints it)".to_owned(),
    })?;
    serde_path_to_error::deserialize(merged).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner().to_string();
        // The library says `for key …`; the path says it better, and a secret's value is never repeated.
        let wrong = inner.split(" for key `").next().unwrap_or(&inner);
        let wrong =
            if may_be_secret(&path) { wrong.split(['`', '"']).next().unwrap_or_default() } else { wrong };
        let wrong = wrong.trim_end().to_owned();
        let key = if path == "." { String::new() } else { path };
        Problem {
            key,
            wrong,
            remedy: "see config.default.toml for every key and its form (`lockstep config` prints it)"
                .to_owned(),
        }
    })
}

/// A malformed file is shown with the line that is wrong, and that line may hold a secret: the name before `=` and the
/// head of a section say enough.
fn without_values(error: &str) -> String {
    let shown = |line: &str| {
        let Some((number, code)) = line.split_once('|') else { return Some(line.to_owned()) };
        if !number.chars().all(|letter| letter.is_ascii_digit() || letter == ' ') {
            return Some(line.to_owned());
        }
        let code = code.trim();
        let name = code.split('=').next().filter(|_| code.contains('=')).map(str::trim_end);
        let head = name.or_else(|| code.starts_with('[').then_some(code))?;
        Some(format!("{number}| {head}"))
    };
    error.lines().filter_map(shown).collect::<Vec<_>>().join("\n")
}

/// Whether a key holds a secret, or a whole section that has one.
fn may_be_secret(path: &str) -> bool {
    match path.rsplit_once('.') {
        Some((_, name)) => matches!(name, "url" | "redis_url" | "token" | "key" | "key_ring"),
        None => true,
    }
}

#[cfg(test)]
mod tests;

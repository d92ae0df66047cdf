//! The layers of the configuration on top of each other: one value per setting, and where it came from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use model::Secret;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, Effective, keys};

/// The file that is read when it is there and no other is named.
const FILE: &str = "tidings.toml";
/// What begins the name of each variable we read.
const PREFIX: &str = "TIDINGS_";
/// Variables with our prefix that are no settings of the server: where the file is, how the client commands reach a server, and what Kubernetes tells
/// every pod when a service is called `tidings`.
const NOT_SETTINGS: &[&str] = &["TIDINGS_CONFIG", "TIDINGS_URL", "TIDINGS_API_KEY", "TIDINGS_TENANT", "TIDINGS_PORT"];
/// The same by how they begin: Kubernetes' others, and those of the tests.
const NOT_SETTINGS_BEGIN: &[&str] = &["TIDINGS_PORT_", "TIDINGS_SERVICE_", "TIDINGS_TEST_"];

/// What was said on the command line.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// The configuration file, which then has to be there.
    pub file: Option<PathBuf>,
    /// Settings by flags of their own: path and value.
    pub named: Vec<(&'static str, String)>,
    /// `--set KEY=VALUE`.
    pub set: Vec<String>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of the file.
    File(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{} line {line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

#[derive(Debug, Clone)]
struct Entry {
    value: Value,
    origin: Origin,
}

#[derive(Debug, Clone)]
enum Value {
    Text(String),
    List(Vec<String>),
}

/// One value per setting that somebody set.
#[derive(Debug, Default)]
pub(super) struct Layers {
    entries: BTreeMap<String, Entry>,
    defaults: BTreeMap<&'static str, String>,
}

impl Layers {
    pub(super) fn gather(
        flags: &Flags,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let environment: Vec<_> = environment.into_iter().collect();
        let named = environment.iter().find(|(name, _)| name == "TIDINGS_CONFIG").map(|(_, path)| PathBuf::from(path));
        let mut layers = Self::default();
        if let Some((path, text)) = read_file(flags.file.clone().or(named).as_deref())? {
            layers.add_file(&path, &text)?;
        }
        layers.add_environment(environment)?;
        layers.add_flags(flags)?;
        Ok(layers)
    }

    pub(super) fn add_environment(&mut self, environment: Vec<(String, String)>) -> Result<(), ConfigError> {
        for (name, value) in environment {
            let Some(rest) = name.strip_prefix(PREFIX).filter(|_| is_setting(&name)) else { continue };
            let path = rest.replace("__", ".").to_lowercase();
            self.add(path, Value::Text(value), Origin::Variable(name))?;
        }
        Ok(())
    }

    pub(super) fn add_flags(&mut self, flags: &Flags) -> Result<(), ConfigError> {
        for (path, value) in &flags.named {
            let flag = format!("--{}", path.replace('_', "-"));
            self.add((*path).to_owned(), Value::Text(value.clone()), Origin::Flag(flag))?;
        }
        for setting in &flags.set {
            let (path, value) = setting.split_once('=').ok_or_else(|| {
                ConfigError(format!("--set {setting} has no `=`: write --set KEY=VALUE, such as --set log.level=debug"))
            })?;
            self.add(path.to_owned(), Value::Text(value.to_owned()), Origin::Flag("--set".to_owned()))?;
        }
        Ok(())
    }

    pub(super) fn add_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            ConfigError(format!("{} line {line} is not TOML: {}", path.display(), error.message().replace('\n', ", ")))
        })?;
        self.add_table(path, text, "", table.get_ref())
    }

    fn add_table(&mut self, file: &Path, text: &str, prefix: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (name, value) in table {
            let path = format!("{prefix}{}", name.get_ref());
            let origin = Origin::File(file.to_owned(), line_of(text, name.span().start));
            match value.get_ref() {
                DeValue::Table(inner) if keys::find(&path).is_none() => {
                    self.add_table(file, text, &format!("{path}."), inner)?;
                }
                value => {
                    let value = plain(value)
                        .ok_or_else(|| wrong(&path, &origin, None, "write a text, a number or a list of texts"));
                    // An unknown setting is the more helpful complaint of the two.
                    known(&path, &origin)?;
                    self.add(path, value?, origin)?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: String, value: Value, origin: Origin) -> Result<(), ConfigError> {
        known(&path, &origin)?;
        self.entries.insert(path, Entry { value, origin });
        Ok(())
    }

    /// Replaces a default for [`Layers::effective`] by what was worked out.
    pub(super) fn set_default(&mut self, path: &'static str, text: &str) {
        self.defaults.insert(path, text.to_owned());
    }

    /// Connectors with a base URL, and the path of that setting.
    pub(super) fn connectors(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.keys().filter_map(|path| Some((keys::connector_of(path)?, path.as_str())))
    }

    /// A text that has a default.
    pub(super) fn text(&self, path: &str) -> Result<String, ConfigError> {
        self.parse(path, |text| if text.is_empty() { Err("write a value".to_owned()) } else { Ok(text.to_owned()) })
    }

    /// Reads a setting that has a default.
    pub(super) fn parse<T>(&self, path: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        match self.parse_if_set(path, &read)? {
            Some(value) => Ok(value),
            None => Ok(read(default(path)).expect("defaults can be read; a test reads them all")),
        }
    }

    /// Reads a setting without a default.
    pub(super) fn parse_if_set<T>(
        &self,
        path: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(entry) = self.entries.get(path) else { return Ok(None) };
        match &entry.value {
            Value::Text(text) => {
                read(text.trim()).map(Some).map_err(|problem| wrong(path, &entry.origin, Some(text), &problem))
            }
            Value::List(_) => Err(wrong(path, &entry.origin, None, "write one value, not a list")),
        }
    }

    /// Reads a list that has a default.
    pub(super) fn parse_list<T>(
        &self,
        path: &str,
        read: impl Fn(&[String]) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        match self.parse_list_if_set(path, &read)? {
            Some(value) => Ok(value),
            None => Ok(read(&split(default(path))).expect("defaults can be read; a test reads them all")),
        }
    }

    /// Reads a list without a default.
    pub(super) fn parse_list_if_set<T>(
        &self,
        path: &str,
        read: impl Fn(&[String]) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(entry) = self.entries.get(path) else { return Ok(None) };
        let list = match &entry.value {
            Value::Text(text) => split(text),
            Value::List(list) => list.clone(),
        };
        read(&list).map(Some).map_err(|problem| wrong(path, &entry.origin, Some(&list.join(",")), &problem))
    }

    /// Reads a whole number within limits.
    pub(super) fn number<T: TryFrom<u64>>(&self, path: &str, range: RangeInclusive<u64>) -> Result<T, ConfigError> {
        self.parse(path, |text| {
            let number = text.parse::<u64>().ok().filter(|number| range.contains(number));
            let number = number.and_then(|number| T::try_from(number).ok());
            number.ok_or_else(|| format!("write a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// Every setting as it is in force, secrets hidden.
    pub(super) fn effective(&self) -> Vec<Effective> {
        let set = self.entries.iter().map(|(path, entry)| {
            let text = match &entry.value {
                Value::Text(text) => text.clone(),
                Value::List(list) => list.join(","),
            };
            (path.clone(), shown(path, &text), entry.origin.to_string())
        });
        let not_set = keys::KEYS
            .iter()
            .filter(|key| !key.path.contains('<') && !self.entries.contains_key(key.path))
            .map(|key| {
                let value =
                    self.defaults.get(key.path).map_or_else(|| key.default.to_owned(), |text| shown(key.path, text));
                (key.path.to_owned(), value, Origin::Default.to_string())
            });
        let all: BTreeSet<_> = set.chain(not_set).collect();
        all.into_iter().map(|(key, value, origin)| Effective { key, value, origin }).collect()
    }
}

/// The file's text, when there is one to be read.
fn read_file(named: Option<&Path>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let path = named.unwrap_or(Path::new(FILE));
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(error) => Err(ConfigError(format!("the configuration file {} cannot be read: {error}", path.display()))),
    }
}

fn plain(value: &DeValue<'_>) -> Option<Value> {
    let text = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().replace('_', "")),
        _ => None,
    };
    match value {
        DeValue::Array(items) => items.iter().map(|item| text(item.get_ref())).collect::<Option<_>>().map(Value::List),
        other => text(other).map(Value::Text),
    }
}

fn split(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty() && !item.starts_with('('))
        .map(str::to_owned)
        .collect()
}

fn default(path: &str) -> &'static str {
    keys::find(path).map_or("", |key| key.default)
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

/// False for variables with our prefix that mean something else.
fn is_setting(name: &str) -> bool {
    !NOT_SETTINGS.contains(&name) && !NOT_SETTINGS_BEGIN.iter().any(|prefix| name.starts_with(prefix))
}

/// Refuses a setting nobody knows, and guesses which was meant.
fn known(path: &str, origin: &Origin) -> Result<(), ConfigError> {
    if let Some(id) = keys::connector_of(path) {
        if connectors::registry::find(id).is_some() || id == engine::money::payments::STRIPE {
            return Ok(());
        }
        let ids: Vec<_> = connectors::registry::listed().map(|connector| connector.spec().id).collect();
        return Err(ConfigError(format!(
            "{}: there is no connector `{id}`; choose from {}",
            place(path, origin),
            ids.join(", ")
        )));
    }
    if keys::find(path).is_some() {
        return Ok(());
    }
    let closest = keys::KEYS.iter().map(|key| (distance(path, key.path), key.path)).min();
    let spelt =
        |path: &str| if matches!(origin, Origin::Variable(_)) { keys::variable(path) } else { format!("`{path}`") };
    let hint = match closest {
        Some((distance, meant)) if distance <= 3 => format!("did you mean {}?", spelt(meant)),
        Some(_) | None => "`tidings doctor --settings` explains those there are".to_owned(),
    };
    Err(ConfigError(format!("{} is not a setting: {hint}", place(path, origin))))
}

/// One line: where the value stands, the value unless it is secret, and what to write.
fn wrong(path: &str, origin: &Origin, value: Option<&str>, problem: &str) -> ConfigError {
    let is_secret = keys::find(path).is_none_or(|key| key.is_secret);
    let value = value.filter(|_| !is_secret).map(|value| format!(" `{}`", value.escape_debug())).unwrap_or_default();
    ConfigError(format!("{}{value} cannot be used: {problem}", place(path, origin)))
}

fn place(path: &str, origin: &Origin) -> String {
    match origin {
        Origin::Default => format!("`{path}`"),
        Origin::File(..) => format!("`{path}` in {origin}"),
        Origin::Variable(name) => name.clone(),
        Origin::Flag(name) if name == "--set" => format!("--set {path}"),
        Origin::Flag(name) => name.clone(),
    }
}

/// A value for people. Of a database URL only the password is hidden.
fn shown(path: &str, text: &str) -> String {
    let is_secret = keys::find(path).is_none_or(|key| key.is_secret);
    if path == "database_url" {
        return without_password(text);
    }
    if is_secret { Secret::new(text).hint() } else { text.to_owned() }
}

fn without_password(text: &str) -> String {
    match url::Url::parse(text) {
        Ok(mut url) if url.password().is_some() => match url.set_password(Some("••••")) {
            Ok(()) => url.as_str().replace("%E2%80%A2", "•"),
            Err(()) => url.scheme().to_owned(),
        },
        Ok(_) | Err(_) => text.to_owned(),
    }
}

/// Levenshtein's distance, for guessing what was meant.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let cost = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

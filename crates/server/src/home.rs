//! The data directory: made when it is missing, with the master key in it when none is configured, and a lock so that two servers do not share one
//! SQLite database.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process,
};

use engine::vault::MasterKeys;
use model::Ids;

use crate::config::{Config, ConfigError};

/// The master key's file in the data directory.
const MASTER_KEY: &str = "master.key";

/// The master keys in use, and what the operator should hear about them.
pub struct Master {
    /// For the engine.
    pub keys: MasterKeys,
    /// Set when this start made the file.
    pub made: Option<PathBuf>,
}

/// Makes the data directory unless it is there. What is inside is for our user only.
pub fn make_data_dir(config: &Config) -> Result<(), ConfigError> {
    DirBuilder::new().recursive(true).mode(0o700).create(&config.data_dir).map_err(|error| {
        ConfigError(format!(
            "`data_dir` {} cannot be made: {error}; name a directory we may write to",
            config.data_dir.display()
        ))
    })
}

/// The configured master keys, or the key in the data directory, which is made when it is missing.
pub fn master(config: &Config, ids: &Ids) -> Result<Master, ConfigError> {
    if let Some(master) = configured_master(config)? {
        return Ok(master);
    }
    let path = config.data_dir.join(MASTER_KEY);
    make_key_file(&path, ids)
        .map_err(|error| ConfigError(format!("the master key {} cannot be written: {error}", path.display())))?;
    Ok(Master { keys: read_key_file(&path)?, made: Some(path) })
}

/// The master keys when there are any: configured, or in the data directory. Makes nothing.
pub fn configured_master(config: &Config) -> Result<Option<Master>, ConfigError> {
    if let Some(text) = &config.master_key {
        let keys = MasterKeys::parse(text.reveal()).map_err(|error| ConfigError(error.to_string()))?;
        return Ok(Some(Master { keys, made: None }));
    }
    let path = config.data_dir.join(MASTER_KEY);
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some(Master { keys: read_key_file(&path)?, made: None }))
}

/// A complaint when others on this machine can read the key file.
pub fn key_file_warning(config: &Config) -> Option<String> {
    let path = config.data_dir.join(MASTER_KEY);
    let mode = fs::metadata(&path).ok()?.permissions().mode() & 0o777;
    (config.master_key.is_none() && mode & 0o077 != 0)
        .then(|| format!("The master key {} can be read by others (mode {mode:o}): chmod 600 it.", path.display()))
}

fn read_key_file(path: &Path) -> Result<MasterKeys, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|error| ConfigError(format!("the master key {} cannot be read: {error}", path.display())))?;
    MasterKeys::parse(text.trim()).map_err(|error| {
        ConfigError(format!(
            "{}: {error}; restore the file from a backup, without it stored secrets cannot be opened",
            path.display()
        ))
    })
}

/// Writes a fresh key aside and links it into place: of two nodes that start at once, one makes the key and both read the same.
fn make_key_file(path: &Path, ids: &Ids) -> io::Result<()> {
    let aside = path.with_extension(format!("key.{}", process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    writeln!(file, "{}", MasterKeys::generate(ids).as_str())?;
    file.sync_all()?;
    let linked = fs::hard_link(&aside, path);
    fs::remove_file(&aside)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all(),
    }
}

/// Holds an SQLite database for one server. The operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "the lock lasts as long as the file is open")] File);

/// Takes the lock of an SQLite database; `None` on PostgreSQL, which many servers share.
pub fn lock(config: &Config) -> Result<Option<Lock>, anyhow::Error> {
    let Some(database) = config.sqlite_file() else { return Ok(None) };
    let path = PathBuf::from(format!("{}.lock", database.display()));
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| anyhow::anyhow!("cannot open {}: {error}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock(file))),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "the database {} is served by another process. Stop it first, or give this one its own `data_dir`; to share work between processes use PostgreSQL",
            database.display()
        ),
        Err(TryLockError::Error(error)) => anyhow::bail!("cannot lock {}: {error}", path.display()),
    }
}

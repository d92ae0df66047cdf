//! Gives the template databases their name: a fingerprint of everything that makes the schema. A changed migration makes a new template.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
};

fn main() {
    let store = PathBuf::from("../store");
    let mut files = vec![store.join("src/migrate.rs"), store.join("src/statistics.rs"), store.join("src/sqlite.rs")];
    let migrations = store.join("migrations");
    println!("cargo::rerun-if-changed={}", migrations.display());
    let entries = fs::read_dir(&migrations).expect("the store keeps its migrations beside its sources");
    files.extend(entries.map(|entry| entry.expect("the directory can be read").path()));
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        println!("cargo::rerun-if-changed={}", file.display());
        fs::read(&file).expect("a file that was just listed can be read").hash(&mut hasher);
    }
    println!("cargo::rustc-env=TIDINGS_SCHEMA_FINGERPRINT={:016x}", hasher.finish());
}

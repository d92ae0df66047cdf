//! The text of a case: commentary, then sections that begin with `== name`.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub name: String,
    pub body: String,
}

impl Section {
    pub fn new(name: &str, body: impl Into<String>) -> Self {
        Self { name: name.to_owned(), body: body.into().trim_matches('\n').to_owned() }
    }
}

/// A case as it stands in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseFile {
    pub commentary: String,
    pub sections: Vec<Section>,
}

impl CaseFile {
    pub fn parse(text: &str) -> Self {
        let mut commentary = String::new();
        let mut sections: Vec<Section> = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("== ") {
                sections.push(Section { name: name.trim().to_owned(), body: String::new() });
                continue;
            }
            let body = sections.last_mut().map_or(&mut commentary, |section| &mut section.body);
            body.push_str(line);
            body.push('\n');
        }
        let sections = sections.into_iter().map(|section| Section::new(&section.name, section.body)).collect();
        Self { commentary: commentary.trim().to_owned(), sections }
    }

    pub fn print(&self) -> String {
        let mut text = format!("{}\n", self.commentary);
        for section in &self.sections {
            write!(text, "\n== {}\n", section.name).unwrap();
            if !section.body.is_empty() {
                writeln!(text, "{}", section.body).unwrap();
            }
        }
        text
    }
}

/// Every case file with the connector's id it belongs to, in order.
pub fn walk() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut found = Vec::new();
    for folder in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let connector = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        found.extend(files.map(|file| (connector.clone(), file)));
    }
    found.sort();
    for (_, path) in &found {
        assert!(path.extension().is_some_and(|end| end == "case"), "{} is not a .case file", path.display());
    }
    found
}

/// The bytes of a body: the text itself, or the file of `tests/data` that its one line `@name` names.
pub fn body(text: &str) -> Vec<u8> {
    match text.strip_prefix('@') {
        Some(name) if !name.contains('\n') => data(name),
        _ => text.as_bytes().to_vec(),
    }
}

/// A file of `tests/data`.
pub fn data(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_case_reads_back_as_written() {
    let text = "What it shows.\n\n== settings\n{}\n\n== answer\n200\nx: y\n\nbody\n\n== test\n";
    let case = CaseFile::parse(text);
    assert_eq!(case.sections[1], Section::new("answer", "200\nx: y\n\nbody"));
    assert_eq!(case.print(), text);
}

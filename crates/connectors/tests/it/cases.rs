//! Plays every case file and compares it with what the code produces; `UPDATE_CASES=1` rewrites the files instead, and `CASES=smtp/` looks only
//! at paths that hold this text.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use tidings_connectors::registry;

use crate::{
    case_file::{CaseFile, walk},
    play::{Shown, play},
};

#[test]
fn cases_hold() {
    let is_update = std::env::var_os("UPDATE_CASES").is_some_and(|value| value == "1");
    let wanted = std::env::var("CASES").unwrap_or_default();
    let mut failures = Vec::new();
    for (id, path) in walk().into_iter().filter(|(_, path)| short(path).contains(&wanted)) {
        let text = std::fs::read_to_string(&path).unwrap();
        let given = CaseFile::parse(&text);
        let name = short(&path);
        let played = match read(&id, &given) {
            Ok((played, _)) => played,
            Err(problem) => {
                failures.push(format!("{name}: {problem}"));
                continue;
            }
        };
        if given.commentary.is_empty() {
            failures.push(format!("{name}: begins without a sentence that says what it shows"));
        }
        if is_update {
            std::fs::write(&path, played.print()).unwrap();
        } else if given != played {
            failures.push(format!("{name}: {}", difference(&given, &played)));
        }
    }
    assert!(
        failures.is_empty(),
        "{} cases do not hold. Where the code is right, run UPDATE_CASES=1 cargo test -p tidings-connectors and read the diff.\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

#[test]
fn every_connector_shows_its_good_and_its_bad_days() {
    let mut shown: BTreeMap<String, BTreeSet<Shown>> = BTreeMap::new();
    for (id, path) in walk() {
        let case = CaseFile::parse(&std::fs::read_to_string(&path).unwrap());
        if let Ok((_, what)) = read(&id, &case) {
            shown.entry(id).or_default().extend(what);
        }
    }
    let mut missing = String::new();
    for connector in registry::listed() {
        let id = connector.spec().id;
        let callbacks: &[Shown] =
            if connector.inbound().is_some() { &[Shown::ValidCallback, Shown::InvalidCallback] } else { &[] };
        let of_channels = connector.spec().channels.iter().flat_map(|channel| Shown::of(*channel));
        // A provider that never calls us tells nothing.
        let of_channels = of_channels.filter(|wanted| !matches!(wanted, Shown::Told(_)) || !callbacks.is_empty());
        for wanted in Shown::EACH.iter().chain(callbacks).copied().chain(of_channels) {
            if !shown.get(id).is_some_and(|seen| seen.contains(&wanted)) {
                writeln!(missing, "cases/{id} has no case for {wanted:?}").unwrap();
            }
        }
    }
    assert!(missing.is_empty(), "{missing}");
}

#[test]
fn ids_are_unique_and_specs_complete() {
    let ids: BTreeSet<_> = registry::all().iter().map(|connector| connector.spec().id).collect();
    assert_eq!(ids.len(), registry::all().len());
    for connector in registry::listed() {
        let spec = connector.spec();
        assert!(!spec.channels.is_empty() && !spec.name.is_empty() && spec.limits.concurrency > 0, "{}", spec.id);
        assert!(spec.id == "sandbox" || spec.docs_url.starts_with("https://"), "{} names no documentation", spec.id);
        assert_eq!(connector.inbound().is_some(), !spec.callback_security.is_empty(), "{}", spec.id);
        assert!(spec.fields.iter().all(|field| !field.help.is_empty() && !field.label.is_empty()), "{}", spec.id);
    }
}

fn read(id: &str, case: &CaseFile) -> Result<(CaseFile, Vec<Shown>), String> {
    let connector = registry::find(id).ok_or_else(|| format!("no connector has the id `{id}`"))?;
    play(connector, case)
}

fn short(path: &Path) -> String {
    path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path).display().to_string()
}

/// The first section that differs, with its lines: `-` as the file has them, `+` as the code produces them.
fn difference(given: &CaseFile, played: &CaseFile) -> String {
    let count = given.sections.len().max(played.sections.len());
    for index in 0..count {
        let (was, is) = (given.sections.get(index), played.sections.get(index));
        if was == is {
            continue;
        }
        let name = is.or(was).map_or("", |section| &section.name);
        let lines = |section: Option<&crate::case_file::Section>| {
            section.map_or(Vec::new(), |section| {
                std::iter::once(format!("== {}", section.name)).chain(section.body.lines().map(str::to_owned)).collect()
            })
        };
        return format!("section `{name}` differs\n{}", diff(&lines(was), &lines(is)));
    }
    "differs".to_owned()
}

fn diff(was: &[String], is: &[String]) -> String {
    let head = was.iter().zip(is).take_while(|(a, b)| a == b).count();
    let tail = was[head..].iter().rev().zip(is[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let mut text = String::new();
    for line in &was[..head] {
        writeln!(text, "    {line}").unwrap();
    }
    for line in &was[head..was.len() - tail] {
        writeln!(text, "  - {line}").unwrap();
    }
    for line in &is[head..is.len() - tail] {
        writeln!(text, "  + {line}").unwrap();
    }
    for line in &was[was.len() - tail..] {
        writeln!(text, "    {line}").unwrap();
    }
    text
}

#[test]
fn a_difference_names_the_section_and_the_lines() {
    let given = CaseFile::parse("x\n\n== a\n1\n\n== b\n1\n2\n3\n");
    let played = CaseFile::parse("x\n\n== a\n1\n\n== b\n1\n9\n3\n");
    assert_eq!(difference(&given, &played), "section `b` differs\n    == b\n    1\n  - 2\n  + 9\n    3\n");
}

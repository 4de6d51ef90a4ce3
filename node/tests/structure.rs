//! The shape of the tree: which way the arrows point, what the top level holds, where `unsafe` may be, and that every
//! bound is in use. Read from the files themselves, so that a wrong turn fails on the day it is taken.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A crate, its folder, and the crates of ours it may know.
const ARROWS: [(&str, &str, &[&str]); 4] = [
    ("silbo-protocol", "protocol", &[]),
    ("silbo-transports", "transports", &["silbo-protocol"]),
    ("silbo-node", "node", &["silbo-protocol", "silbo-transports"]),
    ("silbo-simulations", "simulations", &["silbo-protocol"]),
];
const FOLDERS: [&str; 7] = ["docs", "examples", "node", "protocol", "simulations", "tests", "transports"];
const FILES: [&str; 6] = ["CHANGELOG.md", "Cargo.lock", "Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md"];
/// Files that may hold `unsafe` code, by their path from the top: an allocator that counts, for a test of bounds.
const UNSAFE_IN: [&str; 1] = ["protocol/tests/decoders.rs"];
/// What would give the core a clock, a lock, a socket, a disk, a thread or the system's randomness.
const NOT_IN_THE_CORE: [&str; 12] = [
    "async-std",
    "futures",
    "getrandom",
    "jsonrpsee",
    "libp2p",
    "mio",
    "quinn",
    "rand",
    "rusqlite",
    "rustix",
    "sled",
    "tokio",
];
/// Examples are read in one go.
const EXAMPLE_LINES_MAX: usize = 100;
/// Programs that measure lie there too; nobody learns the API from them.
const MEASUREMENTS: [&str; 2] = ["random_air.rs", "relay_churn.rs"];

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below a folder, build output left out.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a folder entry").path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The lines of a file that are not comments, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Names of all dependencies in a manifest: normal, dev, build, and those of one platform.
fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let platforms =
            manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(|table| table.values());
        let tables = platforms.filter_map(|platform| platform.get(kind)).chain(manifest.get(kind));
        names.extend(tables.filter_map(toml::Value::as_table).flat_map(|table| table.keys().cloned()));
    }
    names
}

fn manifest_of(folder: &str) -> toml::Table {
    read(&top().join(folder).join("Cargo.toml")).parse().expect("a manifest is TOML")
}

#[test]
fn manifests_point_from_node_to_transports_to_protocol_and_nowhere_else() {
    for (name, folder, allowed) in ARROWS {
        let manifest = manifest_of(folder);
        assert_eq!(manifest["package"]["name"].as_str(), Some(name));
        let ours: Vec<String> =
            dependencies(&manifest).into_iter().filter(|known| known.starts_with("silbo")).collect();
        for known in ours {
            assert!(allowed.contains(&known.as_str()), "{folder}/Cargo.toml may not depend on {known}");
        }
    }
}

#[test]
fn the_core_depends_on_nothing_that_acts() {
    let known = dependencies(&manifest_of("protocol"));
    assert!(!known.is_empty());
    for name in NOT_IN_THE_CORE {
        assert!(!known.contains(name), "protocol/Cargo.toml depends on {name}");
    }
}

#[test]
fn code_names_only_crates_its_manifest_may_name() {
    let all: Vec<String> = ARROWS.iter().map(|(name, ..)| name.replace('-', "_")).collect();
    for (name, folder, allowed) in ARROWS {
        let allowed: BTreeSet<String> = allowed.iter().chain([&name]).map(|name| name.replace('-', "_")).collect();
        for path in rust_files(&top().join(folder)).into_iter().filter(|path| !path.ends_with("tests/structure.rs")) {
            let text = read(&path);
            for (at, line) in code(&text) {
                let wrong = words(line).find(|word| all.iter().any(|one| one == word) && !allowed.contains(*word));
                assert_eq!(wrong, None, "{}:{at}", path.display());
            }
        }
    }
}

#[test]
fn the_top_level_holds_what_it_should_and_nothing_else() {
    let expected: BTreeSet<String> = FOLDERS.iter().chain(&FILES).map(ToString::to_string).collect();
    assert_eq!(top_level(), expected);
}

/// Names at the top level that are not dotfiles: those git knows, or in a source archive those on the disk.
fn top_level() -> BTreeSet<String> {
    let git = Command::new("git").args(["ls-files"]).current_dir(top()).output();
    let listed = git.ok().filter(|output| output.status.success()).map(|output| output.stdout).unwrap_or_default();
    let listed = String::from_utf8(listed).expect("paths are UTF-8");
    let first = |path: &str| path.split('/').next().unwrap_or(path).to_owned();
    let mut names: BTreeSet<String> = listed.lines().map(first).collect();
    if names.is_empty() {
        let entries = fs::read_dir(top()).expect("the top level");
        names.extend(entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()));
        names.remove("target");
    }
    names.retain(|name| !name.starts_with('.'));
    names
}

#[test]
fn unsafe_code_is_only_where_it_is_allowed() {
    let keyword = concat!("un", "safe");
    for (.., folder, _) in ARROWS {
        for path in rust_files(&top().join(folder)) {
            let from_top = path.strip_prefix(top()).expect("a path below the top").to_string_lossy().into_owned();
            if UNSAFE_IN.contains(&from_top.as_str()) || path.ends_with("tests/structure.rs") {
                continue;
            }
            let text = read(&path);
            for (at, line) in code(&text) {
                assert!(!words(line).any(|word| word == keyword), "{from_top}:{at}");
            }
        }
    }
}

#[test]
fn every_bound_is_used_by_the_code() {
    let sources: Vec<PathBuf> = ["protocol/src", "transports/src", "node/src"]
        .iter()
        .flat_map(|folder| rust_files(&top().join(folder)))
        .collect();
    let mut used = BTreeSet::new();
    for path in sources.iter().filter(|path| !path.ends_with("limits.rs")) {
        let text = read(path);
        used.extend(code(&text).flat_map(|(_, line)| words(line)).map(str::to_owned));
    }
    let mut unused = Vec::new();
    for limits in ["protocol/src/limits.rs", "node/src/api/limits.rs"] {
        let text = read(&top().join(limits));
        let names: Vec<&str> = code(&text).filter_map(|(_, line)| line.strip_prefix("pub const ")).collect();
        assert!(!names.is_empty(), "{limits} has no bounds");
        let names = names.into_iter().filter_map(|rest| rest.split(':').next());
        unused.extend(names.filter(|name| !used.contains(*name)).map(|name| format!("{limits}: {name}")));
    }
    assert_eq!(unused, Vec::<String>::new());
}

#[test]
fn examples_fit_on_two_screens_and_are_built() {
    let registered: BTreeSet<String> = manifest_of("node")
        .get("example")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|example| example.get("path")?.as_str()?.strip_prefix("../examples/").map(str::to_owned))
        .collect();
    let files = rust_files(&top().join("examples"));
    assert!(!files.is_empty());
    for path in files {
        let name = path.file_name().expect("a file name").to_string_lossy().into_owned();
        assert!(registered.contains(&name), "{name} is not an [[example]] of node/Cargo.toml");
        let lines = read(&path).lines().count();
        assert!(lines <= EXAMPLE_LINES_MAX || MEASUREMENTS.contains(&name.as_str()), "{name} has {lines} lines");
    }
}

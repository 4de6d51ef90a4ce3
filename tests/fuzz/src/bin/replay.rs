//! Runs the corpora, and mutations of them, on plain stable Rust.
//!
//! ```text
//!   replay [--runs N] [--seed S] [--target NAME]…     every corpus file, then N mutations a target
//!   replay seed                                       writes the corpora from real values
//! ```
//! A panic ends the run with the input in `artifacts/<target>/` and exit code 1.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use silbo_fuzz::mutate::Mutator;
use silbo_fuzz::{TARGETS, Target, seeds};

struct Options {
    runs: u64,
    seed: u64,
    targets: Vec<String>,
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let mut options = Options { runs: 0, seed: 1, targets: Vec::new() };
    while let Some(arg) = args.next() {
        match (arg.as_str(), args.next()) {
            ("seed", None) => return write_seeds(),
            ("--runs", Some(value)) => options.runs = number(&value),
            ("--seed", Some(value)) => options.seed = number(&value),
            ("--target", Some(value)) => options.targets.push(value),
            _ => {
                eprintln!("replay [--runs N] [--seed S] [--target NAME]… | replay seed");
                return ExitCode::from(2);
            }
        }
    }
    let unknown = options.targets.iter().find(|name| !TARGETS.iter().any(|(known, _)| known == name));
    if let Some(name) = unknown {
        eprintln!("there is no target {name}");
        return ExitCode::from(2);
    }
    let wanted = |name: &str| options.targets.is_empty() || options.targets.iter().any(|t| t == name);
    let mut failed = 0;
    for target in TARGETS.iter().filter(|(name, _)| wanted(name)) {
        failed += u32::from(!run(target, &options));
    }
    if failed > 0 {
        eprintln!("{failed} targets failed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn number(text: &str) -> u64 {
    text.replace('_', "").parse().unwrap_or_else(|_| panic!("{text} is not a number"))
}

fn run((name, body): &Target, options: &Options) -> bool {
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "the corpus of {name} is empty: run `replay seed`");
    let mut slowest = Duration::ZERO;
    let started = Instant::now();
    let mut mutator = Mutator::new(options.seed);
    let mutations = (0..options.runs).map(|_| mutator.mutate(&corpus));
    let mut runs = 0u64;
    for input in corpus.iter().cloned().chain(mutations) {
        let before = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| body(&input))).is_err() {
            let path = keep(name, &input);
            eprintln!("{name}: FAILED at run {runs} with {}", path.display());
            return false;
        }
        // The first run also makes the fixture.
        if runs > 0 {
            slowest = slowest.max(before.elapsed());
        }
        runs += 1;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{name:18} {:3} files {runs:9} runs {seconds:8.1} s, slowest {:6.1} ms",
        corpus.len(),
        slowest.as_secs_f64() * 1e3
    );
    true
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the corpus, in the order of names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = here().join("corpus").join(name);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a corpus file can be read")).collect()
}

fn keep(name: &str, input: &[u8]) -> PathBuf {
    let dir = here().join("artifacts").join(name);
    std::fs::create_dir_all(&dir).expect("the folder for artifacts can be made");
    let path = dir.join(format!("{:016x}", fnv(input)));
    std::fs::write(&path, input).expect("the artifact can be written");
    path
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn write_seeds() -> ExitCode {
    for (name, _) in TARGETS {
        let dir = here().join("corpus").join(name);
        std::fs::create_dir_all(&dir).expect("the corpus folder can be made");
        for (n, seed) in seeds::seeds(name).iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{n:02}")), seed).expect("the seed can be written");
        }
        println!("{name}: {} seeds", seeds::seeds(name).len());
    }
    ExitCode::SUCCESS
}

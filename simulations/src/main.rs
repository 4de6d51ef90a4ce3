//! `silbo-sim`: runs the virtual world: scenarios by name and seed, contact traces, comparisons.

mod commands;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> anyhow::Result<ExitCode> {
    commands::Arguments::parse().run()
}

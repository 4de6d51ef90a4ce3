//! The program `silbo`: the command line, with the node and the schema it can start and print.

use std::process::ExitCode;

use silbo_node::cli::{self, Program};

fn main() -> ExitCode {
    cli::main(Program { run: silbo_node::node::run, schema: silbo_node::api::schema })
}

//! What groups cost, as a table: `cargo bench -p silbo-simulations --bench groups`.

use anyhow::Context as _;
use silbo_simulations::group_cost::{self, Settings};
use silbo_simulations::progress::Progress;

fn main() -> anyhow::Result<()> {
    let table = group_cost::run(&Settings::default(), &Progress::on_terminal()).context("measure groups")?;
    print!("{table}");
    Ok(())
}

//! `silbo-sim trace`.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use silbo_simulations::experiment::{Experiment, FRIENDS, Trouble};
use silbo_simulations::mobility::{ContactTrace, MessageList};
use silbo_simulations::progress::Progress;
use silbo_simulations::quantity;
use silbo_simulations::radio::Radio;
use silbo_simulations::routers::Router;

/// Arguments of `silbo-sim trace`.
#[derive(Args)]
pub struct Trace {
    /// Who meets whom: a file with the header t_start,t_end,a,b, in seconds and integer ids.
    #[arg(long, value_name = "FILE")]
    contacts: PathBuf,
    /// Who writes to whom: a file with the header t,src,dst.
    #[arg(long, value_name = "FILE")]
    messages: PathBuf,
    /// Lifetime of a message, such as 24h or 7d.
    #[arg(long, value_parser = quantity::duration_ms, default_value = "24h")]
    ttl: u64,
    /// Runs only this router: silbo, direct, spray-4, spray-8, epidemic, epidemic-vaccine, epidemic-vaccine-buffer,
    /// epidemic-vaccine-retake.
    #[arg(long, value_parser = Router::named)]
    router: Option<Router>,
    /// Envelopes of others that a device carries.
    #[arg(long, default_value_t = 400)]
    buffer: usize,
    /// All chance follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Share of the transmissions of a frame that are lost and sent again, such as 0.1 or 10%.
    #[arg(long, value_parser = quantity::per_mille, default_value = "0")]
    loss: u16,
    /// Time a contact needs until frames can be sent, such as 1s-3s.
    #[arg(long, value_parser = quantity::duration_range_ms, default_value = "0s", value_name = "RANGE")]
    setup: RangeInclusive<u64>,
    /// Share of the people who take mail of others and never hand it on, such as 0.3 or 30%.
    #[arg(long, value_parser = quantity::per_mille, default_value = "0")]
    droppers: u16,
    /// A stranger writes so many messages for each message of the list.
    #[arg(long, default_value_t = 0)]
    flood: u32,
    /// People who carry for each: those it spends most time with. Everybody who meets is a contact then; with 0 nobody
    /// carries for anybody in particular.
    #[arg(long, default_value_t = FRIENDS)]
    friends: u8,
    /// Bytes a second of a link, in each direction.
    #[arg(long, default_value_t = Radio::default().rate)]
    rate: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Trace {
    /// Runs the comparison and prints it.
    ///
    /// # Errors
    /// A file that cannot be read, or a broken invariant.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let named = |path: &Path| path.display().to_string();
        let mut trace = ContactTrace::read(&read(&self.contacts)?).with_context(|| named(&self.contacts))?;
        let messages = MessageList::read(&read(&self.messages)?, &mut trace).with_context(|| named(&self.messages))?;
        let radio = Radio { setup_ms: self.setup, rate: self.rate, loss_per_mille: self.loss, ..Radio::default() };
        let experiment = Experiment {
            trace,
            messages,
            ttl_ms: self.ttl,
            buffer: self.buffer,
            seed: self.seed,
            radio,
            droppers_per_mille: self.droppers,
            flood: self.flood,
            friends: self.friends,
            trouble: Trouble::default(),
            ..Experiment::default()
        };
        let routers = self.router.map_or_else(|| Router::ALL.to_vec(), |router| vec![router]);
        print(&experiment, &routers, self.json)
    }
}

/// Runs an experiment and prints its report; a failure with the seed and the command that replays it.
pub(super) fn print(experiment: &Experiment, routers: &[Router], json: bool) -> anyhow::Result<ExitCode> {
    match experiment.run(routers, &Progress::on_terminal()) {
        Ok(report) if json => println!("{}", serde_json::to_string(&report).context("write the report")?),
        Ok(report) => print!("{}", report.table()),
        Err(failure) => {
            let mut words: Vec<String> = std::env::args().skip(1).collect();
            if !words.iter().any(|word| word.starts_with("--seed")) {
                words.extend([String::from("--seed"), experiment.seed.to_string()]);
            }
            eprintln!("FAILED with seed {}: {failure}\n  replay: silbo-sim {}", experiment.seed, words.join(" "));
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}: is the path right?", path.display()))
}

//! The table.

use std::fmt::Write as _;

use super::engines::{Cost, Engines};
use super::large::{Large, Letter};
use super::others::Others;
use super::{JOIN_BYTES_AIM, POST_COPIES_AIM, REMOVAL_BYTES_AIM, Settings};

/// Devices that have written lately, of those with sender keys: what a removal makes each of them do.
const SENDERS: usize = 20;

pub(super) fn text(
    settings: &Settings,
    engines: &Engines,
    large: &Large,
    small_others: &Others,
    large_others: &Others,
) -> String {
    let mut out = String::new();
    engine_rows(&mut out, settings, engines, large);
    other_rows(&mut out, small_others);
    large_rows(&mut out, settings, large);
    other_rows(&mut out, large_others);
    aims(&mut out, settings, engines, large);
    out
}

fn engine_rows(out: &mut String, settings: &Settings, engines: &Engines, large: &Large) {
    line(
        out,
        format!(
            "{} members, a real engine and device each, in one process, everybody linked with everybody; two minutes \
         from each change on",
            settings.engines
        ),
    );
    line(
        out,
        format!(
            "{:<18} {:>9} {:>12} {:>10} {:>11} {:>11} {:>8}",
            "", "frames", "bytes", "a member", "cpu ms, all", "a member", "took s"
        ),
    );
    let rows = [
        ("founding", &engines.founding),
        ("nothing", &engines.idle),
        ("post of 40 B", &engines.post),
        ("addition", &engines.add),
        ("removal", &engines.remove),
        ("join by link", &engines.join),
    ];
    for (name, cost) in rows {
        let members = settings.engines as u64;
        line(
            out,
            format!(
                "{name:<18} {:>9} {:>12} {:>10} {:>11.0} {:>11.2} {:>8.1}",
                cost.frames,
                cost.bytes,
                cost.bytes / members,
                cost.cpu_ms,
                cost.cpu_ms / members as f64,
                cost.took_ms as f64 / 1e3
            ),
        );
        line(out, format!("  {}", kinds(cost)));
    }
    line(
        out,
        format!(
            "to and from the newcomer: {} B by addition, {} B by link; a letter of 40 B is an envelope of {} B",
            engines.add.newcomer, engines.join.newcomer, large.post.bytes
        ),
    );
}

fn kinds(cost: &Cost) -> String {
    let mut kinds: Vec<_> = cost.kinds.iter().collect();
    kinds.sort_by_key(|(_, (_, bytes))| std::cmp::Reverse(*bytes));
    let said = kinds.iter().map(|(kind, (frames, bytes))| format!("{kind} {bytes} B in {frames}"));
    said.collect::<Vec<_>>().join(", ")
}

fn other_rows(out: &mut String, others: &Others) {
    let n = others.devices as u64;
    let senders = (SENDERS as u64).min(n);
    let envelope = others.envelope as u64;
    let seal = |messages: u64| messages as f64 * others.seal_ms;
    line(
        out,
        format!(
            "  the same for {n} devices pair by pair (really sealed to each; {:.3} ms to seal, {:.3} ms to open, {:.2} ms a \
         session, which each pair needs first) and with sender keys ({senders} and all devices have one; from these \
         figures)",
            others.seal_ms, others.open_ms, others.session_ms
        ),
    );
    line(
        out,
        format!(
            "  {:<20} {:>14} {:>14} {:>14} {:>12} {:>12}",
            "bytes",
            "pair by pair",
            format!("{senders} senders"),
            "all senders",
            "pairs, ms",
            "all s., ms"
        ),
    );

    let rows = [
        // A sender key seals once, and everybody gets the same bytes.
        ("post", n - 1, n - 1, n - 1, n - 1, 1),
        // Everybody is told; with sender keys the newcomer is told every key, and tells its own.
        ("addition, join", n, n + senders, n + n, n, n + n),
        // Everybody is told; with sender keys each of them makes a new one and tells it to those who stay.
        ("removal", n - 2, (n - 2) * senders, (n - 2) * (n - 1), n - 2, (n - 2) * (n - 1)),
    ];
    for (name, pairs, some, all, sealed, sealed_all) in rows {
        line(
            out,
            format!(
                "  {name:<20} {:>14} {:>14} {:>14} {:>12.1} {:>12.1}",
                pairs * envelope,
                some * envelope,
                all * envelope,
                seal(sealed),
                seal(sealed_all)
            ),
        );
    }
}

fn large_rows(out: &mut String, settings: &Settings, large: &Large) {
    line(out, String::new());
    line(
        out,
        format!(
            "{} members with {} devices: their operations, keys and letters really made, signed, verified, sealed and \
         opened by two members; the others are counted",
            settings.members, settings.devices
        ),
    );
    line(
        out,
        format!("{:<18} {:>12} {:>16} {:>14} {:>14}", "", "letter B", "a copy each, B", "author ms", "reader ms"),
    );
    let row = |out: &mut String, name: &str, letter: &Letter| {
        line(
            out,
            format!(
                "{name:<18} {:>12} {:>16} {:>14.2} {:>14.2}",
                letter.bytes,
                letter.bytes * (settings.members - 1),
                letter.write_ms,
                letter.read_ms
            ),
        );
    };
    row(out, "post of 40 B", &large.post);
    row(out, "addition", &large.add);
    row(out, "removal", &large.removal);
    row(out, "rekey", &large.rekey);
    line(
        out,
        format!(
            "its slices for {} devices: {} B of key material in all, made in {:.1} ms, one opened in {:.2} ms; {} B in frames \
         to those on a link with somebody who keeps them, {} B in envelopes at relays and carriers",
            large.remaining, large.key_bytes, large.make_ms, large.open_ms, large.slice_frames, large.slice_envelopes
        ),
    );
    line(
        out,
        format!(
            "a welcome: {} B of {} operations, {} B of names, mailboxes and addresses, {} B of keys; read in {:.0} ms",
            large.welcome_operations, large.operations, large.welcome_cards, large.welcome_keys, large.join_ms
        ),
    );
}

fn aims(out: &mut String, settings: &Settings, engines: &Engines, large: &Large) {
    line(out, String::new());
    let copies = (settings.engines - 1) * large.post.bytes;
    let post = engines.post.bytes.saturating_sub(engines.idle.bytes) as f64 / copies as f64;
    aim(out, "post, all traffic in copies of its letter for each member", post, POST_COPIES_AIM);
    let key = large.key_bytes as f64 / large.remaining as f64;
    aim(out, "removal, key material for each device that stays, B", key, REMOVAL_BYTES_AIM);
    let traffic = engines.remove.bytes.saturating_sub(engines.idle.bytes) as f64 / engines.remaining as f64;
    aim(out, "  all traffic of the small group: removal, rekey and slices, B", traffic, REMOVAL_BYTES_AIM);
    let framed = large.slice_frames as f64 / large.remaining as f64;
    aim(out, "  the same as it is on a link, B", framed, REMOVAL_BYTES_AIM);
    let join = (large.welcome_operations + large.welcome_cards + large.welcome_keys) as f64;
    aim(out, "join without history, welcome to the large group, B", join, JOIN_BYTES_AIM as f64);
}

fn aim(out: &mut String, what: &str, figure: f64, aim: f64) {
    let verdict = if figure <= aim { "met" } else { "missed" };
    line(out, format!("{what:<60} {figure:>12.1}   aim {aim:>9.1}   {verdict}"));
}

fn line(out: &mut String, text: String) {
    // Writing to a string does not fail.
    let _written = writeln!(out, "{text}");
}

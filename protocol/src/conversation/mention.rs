//! Who is meant by `@name` in a text: places in it, with accounts instead of names.
//!
//! Names are found once, by the author, when the text is written: whatever a member is called later, the mention stays
//! theirs. A text without mentions, and one of a version that knows none, is the same.

use crate::ids::AccountId;
use crate::limits::MENTIONS_MAX;
use crate::wire::invite::Aid20;
use crate::wire::proto;

/// A place in a text that means an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mention {
    /// Where it begins: bytes of UTF-8 before its `@`.
    pub from: u32,
    /// How many bytes it has, the `@` included.
    pub len: u32,
    /// Whom it means.
    pub account: Aid20,
}

/// The mentions in a text: `@` at its beginning or after what is neither letter nor digit, then the name of a member,
/// whole words, in any case of ASCII letters. The longest name counts; one that two members have means nobody.
pub fn find(body: &str, members: &[(AccountId, String)]) -> Vec<Mention> {
    let mut found: Vec<Mention> = Vec::new();
    let mut end = 0;
    for (at, _) in body.match_indices('@') {
        let before = body.get(..at).and_then(|text| text.chars().next_back());
        if at < end || before.is_some_and(char::is_alphanumeric) || found.len() >= MENTIONS_MAX {
            continue;
        }
        let Some(rest) = body.get(at + 1..) else { continue };
        let Some((account, name)) = named_at(rest, members) else { continue };
        end = at + 1 + name.len();
        let (Ok(from), Ok(len)) = (u32::try_from(at), u32::try_from(1 + name.len())) else { continue };
        found.push(Mention { from, len, account: Aid20::of(account) });
    }
    found
}

fn named_at<'a>(rest: &str, members: &'a [(AccountId, String)]) -> Option<&'a (AccountId, String)> {
    let stands = |name: &str| {
        let head = rest.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
        let next = rest.get(name.len()..).and_then(|rest| rest.chars().next());
        !name.is_empty() && head && !next.is_some_and(char::is_alphanumeric)
    };
    let longest = members.iter().filter(|(_, name)| stands(name)).max_by_key(|(_, name)| name.len())?;
    let same = members.iter().filter(|(_, name)| name.len() == longest.1.len() && stands(name)).count();
    (same == 1).then_some(longest)
}

/// The mentions of a text that came: those that are whole characters of it, one after the other. The rest means
/// nothing here.
pub fn read(spans: &[proto::Span], body: &str) -> Vec<Mention> {
    let mut end = 0;
    let fits = |span: &proto::Span| {
        let account = Aid20(span.mention_aid20.as_slice().try_into().ok()?);
        let (from, len) = (span.from as usize, span.len as usize);
        let after = from.checked_add(len)?;
        let whole = len > 0 && from >= end && body.get(from..after).is_some();
        end = if whole { after } else { end };
        whole.then_some(Mention { from: span.from, len: span.len, account })
    };
    spans.iter().take(MENTIONS_MAX).filter_map(fits).collect()
}

/// As they travel beside the text.
pub fn write(mentions: &[Mention]) -> Vec<proto::Span> {
    let span = |mention: &Mention| proto::Span {
        from: mention.from,
        len: mention.len,
        mention_aid20: mention.account.0.to_vec(),
        ..proto::Span::default()
    };
    mentions.iter().map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> Vec<(AccountId, String)> {
        let names = ["Ada", "Ada Lovelace", "Bob", "Bob", "Zoë", ""];
        (0..).zip(names).map(|(n, name)| (AccountId([n; 32]), name.to_owned())).collect()
    }

    fn found(body: &str) -> Vec<(&str, u8)> {
        let found = find(body, &members());
        assert_eq!(read(&write(&found), body), found, "what is written is read");
        let text = |m: &Mention| body.get(m.from as usize..(m.from + m.len) as usize).expect("whole characters");
        found.iter().map(|m| (text(m), m.account.0[0])).collect()
    }

    #[test]
    fn whole_names_after_an_at_sign_are_found_and_the_longest_counts() {
        assert_eq!(found("@Ada, see @ada lovelace. (@Zoë)"), [("@Ada", 0), ("@ada lovelace", 1), ("@Zoë", 4)]);
        assert_eq!(found("@Ada@Zoë"), [("@Ada", 0)], "the second one stands within a word");
        for none in ["ada", "mail@Ada", "@Adam", "@ Ada", "@", "@@", "@Bob", "@nobody", "ü@Ada"] {
            assert_eq!(found(none), [], "{none}");
        }
        let many = "@Ada ".repeat(MENTIONS_MAX + 5);
        assert_eq!(found(&many).len(), MENTIONS_MAX);
    }

    #[test]
    fn what_is_no_place_in_the_text_means_nothing() {
        let span = |from, len| proto::Span { from, len, mention_aid20: vec![7; 20], ..proto::Span::default() };
        let read = |spans: &[proto::Span]| read(spans, "Zoë, hi");
        assert_eq!(read(&[span(0, 4)]).len(), 1);
        for bad in [span(0, 3), span(3, 2), span(0, 0), span(0, 9), span(8, 1), span(u32::MAX, u32::MAX)] {
            assert_eq!(read(std::slice::from_ref(&bad)), [], "{bad:?}");
        }
        assert_eq!(read(&[span(2, 2), span(0, 1)]).len(), 1, "backwards");
        assert_eq!(read(&[span(0, 4), span(2, 3)]).len(), 1, "overlapping");
        assert_eq!(read(&[proto::Span { mention_aid20: vec![7; 19], ..span(0, 4) }]), []);
        assert_eq!(read(&[proto::Span { style: 1, ..proto::Span::default() }]), [], "a style of a later version");
        assert_eq!(read(&vec![span(0, 1); 3]).len(), 1);
    }
}

//! The decision that follows from an item for which the condition of a call did not hold. Nothing here calls the store.

use std::time::SystemTime;

use super::expression::Expected;
use super::item::{self, Attributes};
use super::version;
use crate::distributor::Distributor;
use crate::entity_tag::EntityTag;
use crate::problem::{Code, Problem};
use crate::update::{Access, Change, IfMatch, Update};

/// A write as it was tried.
#[derive(Debug)]
pub struct Proposal {
    /// The versions that it may replace.
    pub expected: Expected,
    /// Its own version.
    pub version: String,
    /// The proposals of the request before this one.
    pub repetitions: u32,
}

impl Proposal {
    /// Returns the first proposal of a request: stamped by the clock.
    #[must_use]
    pub fn first(now: SystemTime) -> Self {
        Self { expected: Expected::AllowedByIfMatch, version: version::at(now), repetitions: 0 }
    }

    /// Returns whether the condition of this proposal holds for an item at a version that `If-Match` allows.
    fn may_replace(&self, stored: Option<&str>) -> bool {
        match &self.expected {
            Expected::AllowedByIfMatch => stored.is_none_or(|stored| *stored < *self.version),
            Expected::Stored(expected) => stored == Some(expected),
        }
    }

    /// Returns what to propose next, where the item is at a stored version that is allowed, and not before this one's.
    ///
    /// - After the stored version, by a compare-and-swap on it.
    /// - Where that has been tried, so that others write at the same time, and the clock is ahead of the stored version:
    ///   with the clock's time, which takes precedence over all that were stamped before.
    /// - Where nothing can come after the stored version, since it is not in our form: with the clock's time, by a
    ///   compare-and-swap.
    ///
    /// A clock that has gone back meanwhile is taken to show this proposal's version: an attempt with this one that arrives
    /// late could else replace the next one and what others have written since.
    fn next(&self, stored: Option<&str>, now: SystemTime) -> Self {
        let now = version::at(now).max(self.version.clone());
        let (expected, version) = match stored.map(|stored| (stored, version::after(stored))) {
            None => (Expected::AllowedByIfMatch, now),
            Some((stored, None)) => (Expected::Stored(stored.to_owned()), now),
            Some((stored, Some(_))) if self.repetitions > 0 && *now > *stored => (Expected::AllowedByIfMatch, now),
            Some((stored, Some(after))) => (Expected::Stored(stored.to_owned()), after),
        };
        Self { expected, version, repetitions: self.repetitions + 1 }
    }
}

/// What to do after a call whose condition did not hold.
pub enum Decision {
    /// The change has been made: this is the distributor.
    Respond(Distributor),
    /// Nothing was written.
    Refuse(Problem),
    /// The condition failed only because of the stored version.
    Retry(Proposal),
}

/// Decides on the item that the store returned, or on `None` where there is none. `may_have_arrived` says whether an
/// earlier attempt of the request may have been carried out.
///
/// | item | at a version that `If-Match` allows | its `meta` | decision |
/// | --- | --- | --- | --- |
/// | none, or another node's | | | 404 |
/// | ours | no | as asked for | respond: an attempt, this request when it was sent before, or another has made it |
/// | ours | no | another | 412 |
/// | ours | yes, without tags | as asked for, at our version, and an attempt may have arrived | respond: its response was lost |
/// | ours | yes, and the condition holds for it | any | 503: the store contradicts itself |
/// | ours | yes, and it is not before the proposal, or not the one that it expects | any | retry |
pub fn decide(
    update: &Update<Attributes>,
    proposal: &Proposal,
    may_have_arrived: bool,
    item: Option<&Attributes>,
    now: SystemTime,
) -> Decision {
    let Some(item) = item else {
        return Decision::Refuse(not_found("absent"));
    };
    if let Access::Node(node) = update.access
        && item::string(item, "node_id") != Some(&node.to_string())
    {
        return Decision::Refuse(not_found("other_node"));
    }
    let stored = item::string(item, "updated_at");
    let is_applied = item::is_applied(&update.change, item);
    let distributor = || item::distributor(update.id, item);
    if !update.if_match.allows(stored) {
        // RFC 9110, 13.1.1 allows the success.
        return if is_applied {
            Decision::Respond(distributor())
        } else {
            Decision::Refuse(Problem::precondition_failed(stored.and_then(EntityTag::new).as_ref()))
        };
    }
    // With tags, a version that they allow was there before the request.
    if may_have_arrived && is_applied && update.if_match == IfMatch::Any && stored == Some(&proposal.version) {
        return Decision::Respond(distributor());
    }
    let is_read = matches!(update.change, Change::Keep);
    if is_read || proposal.may_replace(stored) {
        // The condition holds for the returned item, so it cannot have failed. Another call might fail in the same way.
        return Decision::Refuse(unavailable());
    }
    Decision::Retry(proposal.next(stored, now))
}

/// Returns the problem of a request of which the store's response does not tell whether it was carried out.
pub fn unavailable() -> Problem {
    Problem::new(Code::StoreUnavailable, "the store did not respond in time; repeat the request")
}

fn not_found(reason: &'static str) -> Problem {
    Problem::new(Code::DistributorNotFound, "the caller has no such distributor").because(reason)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_dynamodb::types::AttributeValue;
    use uuid::Uuid;

    use super::*;

    const BEFORE: &str = "2026-01-01T00:00:00.000001Z";
    const NOW: &str = "2026-01-01T00:00:00.000002Z";
    const AFTER: &str = "2026-01-01T00:00:00.000003Z";
    const LOST: &str = "2025-12-31T00:00:00.000000Z";

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(1_767_225_600_000_002)
    }

    fn item(node: Uuid, version: Option<&str>, path: Option<&str>) -> Attributes {
        let string = |text: &str| AttributeValue::S(text.to_owned());
        let mut item = Attributes::from([("node_id".to_owned(), string(&node.to_string()))]);
        item.extend(version.map(|version| ("updated_at".to_owned(), string(version))));
        let meta = path.map(|path| AttributeValue::M(Attributes::from([("path".to_owned(), string(path))])));
        item.extend(meta.map(|meta| ("meta".to_owned(), meta)));
        item
    }

    fn set(path: &str) -> Change<Attributes> {
        Change::Set(Attributes::from([("path".to_owned(), AttributeValue::S(path.to_owned()))]))
    }

    /// Every cell of the table, and every way to the next version.
    #[test]
    fn the_item_decides() {
        let (ours, others) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let tags = |tags: &[&str]| IfMatch::OneOf(tags.iter().filter_map(|tag| EntityTag::new(tag)).collect());
        let stored = |version| Some(item(ours, Some(version), Some("/old")));
        let applied = |version| Some(item(ours, Some(version), Some("/new")));
        for (row, change, if_match, repetitions, may_have_arrived, item, expected) in [
            (1, set("/new"), IfMatch::Any, 0, true, None, "404 absent".to_owned()),
            (
                2,
                set("/new"),
                IfMatch::Any,
                0,
                true,
                Some(item(others, Some(NOW), Some("/new"))),
                "404 other_node".to_owned(),
            ),
            (3, set("/new"), tags(&["x"]), 0, false, applied(AFTER), format!("200 {AFTER}")),
            (4, set("/new"), tags(&["x"]), 0, true, stored(AFTER), "412".to_owned()),
            (5, Change::Remove, tags(&["x"]), 0, false, Some(item(ours, Some(AFTER), None)), format!("200 {AFTER}")),
            (6, Change::Remove, tags(&["x"]), 0, false, stored(AFTER), "412".to_owned()),
            (7, Change::Keep, tags(&["x"]), 0, false, stored(AFTER), "412".to_owned()),
            (8, Change::Keep, tags(&[AFTER]), 0, false, stored(AFTER), "503".to_owned()),
            (9, Change::Keep, IfMatch::Any, 0, false, stored(AFTER), "503".to_owned()),
            // Ours, or another's in the same microsecond.
            (10, set("/new"), IfMatch::Any, 0, true, applied(NOW), format!("200 {NOW}")),
            (11, set("/new"), IfMatch::Any, 0, false, applied(NOW), format!("{AFTER} after {NOW}")),
            (12, set("/new"), tags(&[NOW]), 0, true, applied(NOW), format!("{AFTER} after {NOW}")),
            (13, set("/new"), IfMatch::Any, 0, true, stored(NOW), format!("{AFTER} after {NOW}")),
            // Overtaken: first one after the stored version, then by the clock.
            (14, set("/new"), IfMatch::Any, 1, false, stored(BEFORE), NOW.to_owned()),
            (15, set("/new"), tags(&[BEFORE]), 1, false, stored(BEFORE), NOW.to_owned()),
            (16, set("/new"), IfMatch::Any, 9, false, stored(NOW), format!("{AFTER} after {NOW}")),
            (17, set("/new"), IfMatch::Any, 0, false, stored("latest"), format!("{NOW} after latest")),
            (18, set("/new"), IfMatch::Any, 1, false, stored("latest"), format!("{NOW} after latest")),
            (19, Change::Remove, IfMatch::Any, 1, false, Some(item(ours, None, None)), NOW.to_owned()),
            // The condition of the call holds for the item that it returns.
            (20, set("/new"), IfMatch::Any, 0, false, stored(BEFORE), "503".to_owned()),
            (21, set("/new"), IfMatch::Any, 0, true, applied(BEFORE), "503".to_owned()),
            (22, set("/new"), tags(&[BEFORE]), 0, false, stored(BEFORE), "503".to_owned()),
            (23, Change::Remove, IfMatch::Any, 0, true, Some(item(ours, None, None)), "503".to_owned()),
            (24, set("/new"), IfMatch::Any, 0, false, stored("1999, a long time ago"), "503".to_owned()),
            (25, set("/new"), IfMatch::Any, 1, true, stored(LOST), "503".to_owned()),
        ] {
            let update = Update { id: Uuid::nil(), access: Access::Node(ours), if_match, change };
            // A repetition expects a version, which was there before.
            let first = Proposal::first(now());
            let expected_version = if repetitions > 0 { Expected::Stored(LOST.to_owned()) } else { first.expected };
            let proposal = Proposal { expected: expected_version, version: first.version, repetitions };
            let found = match decide(&update, &proposal, may_have_arrived, item.as_ref(), now()) {
                Decision::Respond(distributor) => format!("200 {}", distributor.updated_at.unwrap()),
                Decision::Refuse(problem) => {
                    let reason = problem.reason.map(|reason| format!(" {reason}")).unwrap_or_default();
                    format!("{}{reason}", problem.code.status().as_u16())
                }
                Decision::Retry(Proposal { expected: Expected::Stored(stored), version, .. }) => {
                    format!("{version} after {stored}")
                }
                Decision::Retry(Proposal { expected: Expected::AllowedByIfMatch, version, .. }) => version,
            };
            assert_eq!(found, expected, "row {row}");
        }
    }

    /// Although the clock has gone on meanwhile.
    #[test]
    fn the_first_repetition_is_a_compare_and_swap() {
        for (repetitions, is_compare_and_swap) in [(0, true), (1, false)] {
            let proposal = Proposal { expected: Expected::AllowedByIfMatch, version: BEFORE.to_owned(), repetitions };
            let next = proposal.next(Some(BEFORE), now());
            assert_eq!(next.version, NOW);
            assert_eq!(matches!(next.expected, Expected::Stored(_)), is_compare_and_swap, "{repetitions}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_takes_no_version_back() {
        for (repetitions, stored) in [(0, None), (0, Some("latest")), (1, Some("latest")), (1, Some(BEFORE))] {
            let proposal = Proposal { expected: Expected::AllowedByIfMatch, version: AFTER.to_owned(), repetitions };
            assert_eq!(proposal.next(stored, now()).version, AFTER, "{repetitions}, {stored:?}");
        }
    }
}

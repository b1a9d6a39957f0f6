//! What the journal tells of itself, as events.

use std::sync::Arc;

use bytes::Bytes;
use trapline_schemas::{Action, Event, Field, Timestamp, codec, ids, text};

use crate::graph::window::sink_behind;
use crate::journal::{Cause, Fact, FactBody};
use crate::record::Identity;

/// Makes the bodies of the journal's own entries.
pub(super) fn bodies(identity: Arc<Identity>) -> FactBody {
    FactBody::new(move |fact| {
        let mut event = event(fact);
        identity.stamp(&mut event);
        Some(Bytes::from(codec::encode(&event)))
    })
}

fn event(fact: &Fact) -> Event {
    match fact {
        Fact::Lost {
            consumer,
            first,
            last,
            count,
            cause,
        } => {
            let replayed = consumer.strip_prefix("replay/");
            let mut event = match replayed {
                Some(_) => gap(&format!("{}, in a replay", why(*cause)), *count),
                None => gap(why(*cause), *count),
            };
            let windowed = || consumer.strip_prefix("window/").and_then(sink_behind);
            let sink = replayed.or_else(|| consumer.strip_prefix("sink/")).or_else(windowed);
            let sink = sink.unwrap_or(consumer);
            event.set(Field::SinkName, sink);
            event.set(Field::GapFirst, number(*first));
            event.set(Field::GapLast, number(*last));
            event
        }
        Fact::Pruned { first, last, count, at } => {
            let mut event = gap(
                "the disk was full: removed before their time to make room, every enabled sink had them",
                *count,
            );
            event.set(Field::GapFirst, number(*first));
            event.set(Field::GapLast, number(*last));
            if let Some((oldest, newest)) = at {
                event.set(Field::EventStart, *oldest);
                event.set(Field::EventEnd, *newest);
            }
            event
        }
        Fact::Shed { count, first, last } => {
            let mut event = gap("dropped: the disk failed and memory was full", *count);
            event.set(Field::EventStart, *first);
            event.set(Field::EventEnd, *last);
            event
        }
        Fact::Unkept { count, first, last } => {
            let mut event = gap("lost: trapline ended while the disk failed", *count);
            event.set(Field::EventStart, *first);
            event.set(Field::EventEnd, *last);
            event
        }
        Fact::DeadLettersDropped { count } => gap("dead letters beyond what is kept, the oldest were dropped", *count),
        Fact::Salvaged(salvaged) => {
            let reason = format!(
                "the journal file was damaged ({}): {} entries carried over, {} refused, the damaged file is kept as {}",
                salvaged.reason,
                salvaged.entries,
                salvaged.refused,
                salvaged.kept_as.display(),
            );
            because(Action::ChainBreak, &reason)
        }
        Fact::Missing(missing) => {
            let mut event = gap(&missing.to_string(), missing.count);
            if missing.count > 0 {
                event.set(Field::GapFirst, number(missing.first));
                event.set(Field::GapLast, number(missing.last));
            }
            event
        }
        Fact::CutShort(cut) => {
            let mut event = gap(&cut.to_string(), cut.count());
            if cut.count() > 0 {
                event.set(Field::GapFirst, number(cut.first));
                event.set(Field::GapLast, number(cut.next - 1));
            }
            event
        }
        Fact::Replaced { lost, rewritten } => {
            let reason = format!("the journal file was gone: {rewritten} entries written again from memory");
            gap(&reason, *lost)
        }
    }
}

const fn why(cause: Cause) -> &'static str {
    match cause {
        Cause::Trimmed => "trimmed by size before this sink had them",
        Cause::Gone => "gone from the file before this sink had them, nothing trimmed them",
        Cause::Unreadable => "unreadable: damaged, or written by a newer version",
    }
}

fn gap(reason: &str, count: u64) -> Event {
    let mut event = because(Action::JournalGap, reason);
    event.set(Field::FindingHits, number(count));
    event
}

fn because(action: Action, reason: &str) -> Event {
    let now = Timestamp::now();
    let mut event = Event::new(ids::fresh(now), now, action);
    event.set(Field::EventReason, text::clean(reason.as_bytes()));
    event
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_window_before_a_sink_lost_is_told_of_the_sink() {
        let event = event(&Fact::Lost {
            consumer: "window/notices/mail".into(),
            first: 3,
            last: 9,
            count: 7,
            cause: Cause::Trimmed,
        });
        assert_eq!(event.text(Field::SinkName).unwrap(), "mail");
    }

    #[test]
    fn a_gap_names_its_sink_its_range_and_its_count() {
        let event = event(&Fact::Lost {
            consumer: "sink/siem".into(),
            first: 3,
            last: 9,
            count: 7,
            cause: Cause::Trimmed,
        });
        assert_eq!(event.action, Action::JournalGap);
        assert_eq!(event.text(Field::SinkName).unwrap(), "siem");
        let numbers = [Field::GapFirst, Field::GapLast, Field::FindingHits].map(|field| event.int(field).unwrap());
        assert_eq!(numbers, [3, 9, 7]);
    }
}

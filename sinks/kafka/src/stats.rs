//! What librdkafka's statistics say in one line for `status`.

use rdkafka::Statistics;

/// How often librdkafka counts, in milliseconds.
pub(crate) const INTERVAL_MS: u32 = 15_000;

/// Counts of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    brokers: usize,
    connected: usize,
    waiting: u64,
    /// Mean over the connected brokers that answered of late.
    round_trip_micros: Option<i64>,
}

impl Counts {
    /// The part of the statistics that an operator asks for.
    pub(crate) fn new(statistics: &Statistics) -> Self {
        // Those that the cluster named; the others are the addresses of the configuration.
        let named = || statistics.brokers.values().filter(|broker| broker.nodeid >= 0);
        let up = || named().filter(|broker| broker.state == "UP");
        let trips: Vec<i64> = up()
            .filter_map(|broker| broker.rtt.as_ref())
            .filter(|rtt| rtt.cnt > 0)
            .map(|rtt| rtt.avg)
            .collect();
        let count = i64::try_from(trips.len()).unwrap_or(i64::MAX);
        Self {
            brokers: named().count(),
            connected: up().count(),
            waiting: statistics.msg_cnt,
            round_trip_micros: trips.iter().sum::<i64>().checked_div(count),
        }
    }

    /// The line. librdkafka connects only to brokers that it needs.
    pub(crate) fn note(&self) -> String {
        let trip = self
            .round_trip_micros
            .map(|micros| format!(", round trip {}.{} ms", micros / 1000, micros % 1000 / 100))
            .unwrap_or_default();
        format!(
            "connected to {} of {} brokers, {} events in the producer's queue{trip}",
            self.connected, self.brokers, self.waiting
        )
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::{Broker, Window};

    use super::*;

    fn broker(nodeid: i32, state: &str, rtt: Option<(i64, i64)>) -> (String, Broker) {
        let rtt = rtt.map(|(cnt, avg)| Window {
            cnt,
            avg,
            ..Window::default()
        });
        let broker = Broker {
            nodeid,
            state: state.to_owned(),
            rtt,
            ..Broker::default()
        };
        (format!("{nodeid}{state}"), broker)
    }

    #[test]
    fn brokers_queue_and_round_trip_are_told() {
        let brokers = [
            broker(-1, "UP", Some((9, 1))),
            broker(1, "UP", Some((4, 2000))),
            broker(2, "UP", Some((0, 0))),
            broker(3, "DOWN", Some((1, 900_000))),
            broker(4, "UP", Some((2, 3500))),
        ];
        let statistics = Statistics {
            msg_cnt: 7,
            brokers: brokers.into(),
            ..Statistics::default()
        };
        assert_eq!(
            Counts::new(&statistics).note(),
            "connected to 3 of 4 brokers, 7 events in the producer's queue, round trip 2.7 ms"
        );
    }

    #[test]
    fn before_the_first_answer_there_is_no_round_trip() {
        assert_eq!(
            Counts::new(&Statistics::default()).note(),
            "connected to 0 of 0 brokers, 0 events in the producer's queue"
        );
    }
}

//! What librdkafka's statistics say: one line for `status`, and figures for `/metrics`.
//!
//! Counters are those of the producer in use: one that takes another's place begins at 0, as after a restart.
//! Source: librdkafka's STATISTICS.md (round trips are microseconds, throttle times milliseconds).

use std::collections::BTreeMap;

use rdkafka::Statistics;
use rdkafka::statistics::{Broker, Window};
use trapline_sink::Measure;

/// How often librdkafka counts, in milliseconds.
pub(crate) const INTERVAL_MS: u32 = 15_000;

/// Most brokers that figures are kept of: a cluster names its brokers itself.
const BROKERS_MAX: usize = 100;

/// Counts of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    brokers: usize,
    connected: usize,
    waiting: u64,
    waiting_bytes: u64,
    /// By node id.
    each: BTreeMap<i32, OfBroker>,
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
            waiting_bytes: statistics.msg_size,
            each: first_of(named()),
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

    /// The figures.
    pub(crate) fn measures(&self) -> Vec<Measure> {
        let queue = [
            Measure::gauge("queue_events", "Events in the producer's queue.", self.waiting as f64),
            Measure::gauge(
                "queue_bytes",
                "Bytes of the events in the producer's queue.",
                self.waiting_bytes as f64,
            ),
        ];
        let brokers = self.each.iter().flat_map(|(id, broker)| broker.measures(*id));
        queue.into_iter().chain(brokers).collect()
    }
}

/// The brokers with the lowest ids, always the same ones.
fn first_of<'a>(brokers: impl Iterator<Item = &'a Broker>) -> BTreeMap<i32, OfBroker> {
    let all: BTreeMap<i32, &Broker> = brokers.map(|broker| (broker.nodeid, broker)).collect();
    let first = all.into_iter().take(BROKERS_MAX);
    first.map(|(id, broker)| (id, OfBroker::new(broker))).collect()
}

/// What is counted of one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OfBroker {
    state: String,
    errors: u64,
    retries: u64,
    timeouts: u64,
    /// Mean and 99th percentile of the last interval, if anything was answered in it.
    round_trip_micros: Option<(i64, i64)>,
    throttle_millis: Option<i64>,
}

impl OfBroker {
    fn new(broker: &Broker) -> Self {
        let answered = |window: &Option<Window>| window.clone().filter(|window| window.cnt > 0);
        Self {
            state: broker.state.clone(),
            errors: broker.txerrs,
            retries: broker.txretries,
            timeouts: broker.req_timeouts,
            round_trip_micros: answered(&broker.rtt).map(|rtt| (rtt.avg, rtt.p99)),
            throttle_millis: answered(&broker.throttle).map(|throttle| throttle.avg),
        }
    }

    fn measures(&self, id: i32) -> Vec<Measure> {
        let is_up = f64::from(u8::from(self.state == "UP"));
        let state = Measure::gauge(
            "broker_state",
            "1 for the state that the connection to the broker is in.",
            1.0,
        );
        let counters = [
            (
                "broker_errors_total",
                "Requests to the broker that could not be sent.",
                self.errors,
            ),
            (
                "broker_retries_total",
                "Requests to the broker that were sent again.",
                self.retries,
            ),
            (
                "broker_request_timeouts_total",
                "Requests that the broker did not answer in time.",
                self.timeouts,
            ),
        ];
        let counters = counters.map(|(name, help, count)| Measure::counter(name, help, count as f64));
        let up = Measure::gauge("broker_up", "Whether the producer is connected to the broker.", is_up);
        let all = [state.with("state", self.state.clone()), up]
            .into_iter()
            .chain(counters);
        let all = all.chain(self.times());
        all.map(|measure| measure.with("broker", id.to_string())).collect()
    }

    fn times(&self) -> impl Iterator<Item = Measure> + use<> {
        let trip = self.round_trip_micros.into_iter().flat_map(|(mean, p99)| {
            let help = "Round trip of requests to the broker within the last 15 seconds.";
            let trip = |of: &str, micros: i64| {
                Measure::gauge("broker_round_trip_seconds", help, micros as f64 / 1e6).with("of", of)
            };
            [trip("mean", mean), trip("p99", p99)]
        });
        let throttle = self.throttle_millis.map(|millis| {
            let help = "Mean wait that the broker asked for within the last 15 seconds.";
            Measure::gauge("broker_throttle_seconds", help, millis as f64 / 1e3)
        });
        trip.chain(throttle)
    }
}

#[cfg(test)]
mod tests {
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
    fn each_broker_that_the_cluster_named_has_its_figures_in_base_units() {
        let (name, mut one) = broker(1, "UP", Some((4, 2000)));
        (one.txerrs, one.txretries, one.req_timeouts) = (1, 2, 3);
        one.throttle = Some(Window {
            cnt: 1,
            avg: 40,
            ..Window::default()
        });
        let statistics = Statistics {
            msg_cnt: 7,
            msg_size: 900,
            brokers: [(name, one), broker(2, "DOWN", None), broker(-1, "UP", None)].into(),
            ..Statistics::default()
        };
        let measures = Counts::new(&statistics).measures();
        assert!(measures.iter().all(Measure::is_well_formed), "{measures:?}");
        let found = |name: &str, labels: &[(&str, &str)]| {
            let is_it = |measure: &&Measure| {
                let has =
                    |(label, value): &(&str, &str)| measure.labels.iter().any(|own| own.0 == *label && own.1 == *value);
                measure.name == name && labels.iter().all(has)
            };
            measures.iter().find(is_it).map(|measure| measure.value)
        };
        assert_eq!(found("queue_bytes", &[]), Some(900.0));
        assert_eq!(found("broker_up", &[("broker", "1")]), Some(1.0));
        assert_eq!(found("broker_up", &[("broker", "2")]), Some(0.0));
        assert_eq!(found("broker_up", &[("broker", "-1")]), None, "an address is no broker");
        assert_eq!(found("broker_state", &[("broker", "2"), ("state", "DOWN")]), Some(1.0));
        assert_eq!(found("broker_request_timeouts_total", &[("broker", "1")]), Some(3.0));
        assert_eq!(found("broker_round_trip_seconds", &[("of", "mean")]), Some(0.002));
        assert_eq!(found("broker_throttle_seconds", &[("broker", "1")]), Some(0.04));
        assert_eq!(found("broker_throttle_seconds", &[("broker", "2")]), None);
    }

    #[test]
    fn a_cluster_of_any_size_makes_a_bounded_number_of_figures() {
        let brokers = (0..10_000).map(|id| broker(id, "UP", Some((1, 1))));
        let statistics = Statistics {
            brokers: brokers.collect(),
            ..Statistics::default()
        };
        let measures = Counts::new(&statistics).measures();
        assert!(
            measures.len() <= trapline_sink::measure::MEASURES_MAX,
            "{}",
            measures.len()
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

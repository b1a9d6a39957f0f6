//! All that is logged, for tests of what must not be.
#![allow(
    clippy::unwrap_used,
    reason = "compiled for tests alone, which stop where something is wrong"
)]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

use super::web::{Fault, Reply};

/// Every line of the log from the start on.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Keeps what this process logs from now on, at level trace; once in a process.
    pub fn of_all() -> Self {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE);
        subscriber.with_writer(move || writer.clone()).finish().init();
        log
    }

    /// Panics if `secret` was logged or `told`, or nothing was logged at all.
    pub fn shows_not(&self, secret: &str, told: &str) {
        let log = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
        let is_whole = ["TRACE", "DEBUG"].iter().all(|level| log.contains(level));
        assert!(is_whole, "not everything was logged: {log}");
        for text in [log.as_str(), told] {
            assert_eq!(text.lines().find(|line| line.contains(secret)), None);
        }
    }
}

/// What a destination may do that could bring `secret` to light: take it, send elsewhere, repeat it in every way, say
/// nothing, break off.
pub fn telltales(secret: &str) -> Vec<Fault> {
    let repeats =
        [200, 202, 400, 401, 404, 413, 429, 500, 503].map(|status| Fault::Answer(Reply::text(status, secret)));
    let mut faults = vec![
        Fault::Slow(Duration::ZERO),
        Fault::Answer(Reply::status(302).with("Location", &format!("https://elsewhere.example/{secret}"))),
    ];
    faults.extend(repeats);
    faults.extend([Fault::Silence, Fault::ShortBody]);
    faults
}

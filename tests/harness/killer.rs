//! A kill at the worst moment: a receiver has taken what it was sent, and nobody hears its answer.

use trapline_sink::conformance::web::{Reply, Request, Service};

use super::kill;

/// A service that kills whoever asks, once, when the request is done and before it is answered.
pub struct Killer<S> {
    /// The service.
    pub service: S,
    armed: Option<(u32, Deadly)>,
}

/// Which path is deadly.
type Deadly = Box<dyn Fn(&str) -> bool + Send>;

impl<S> Killer<S> {
    /// Kills nobody yet.
    pub fn new(service: S) -> Self {
        Self { service, armed: None }
    }

    /// Kills this process when it next posts to such a path.
    pub fn arm(&mut self, pid: u32, is_deadly: impl Fn(&str) -> bool + Send + 'static) {
        self.armed = Some((pid, Box::new(is_deadly)));
    }
}

impl<S: Service> Service for Killer<S> {
    fn answer(&mut self, request: &Request) -> Reply {
        let reply = self.service.answer(request);
        let is_deadly = |(_, is_deadly): &mut (u32, Deadly)| request.method == "POST" && is_deadly(request.path());
        if let Some((pid, _)) = self.armed.take_if(is_deadly) {
            kill(pid, "KILL");
        }
        reply
    }

    fn meets_faults(&self, request: &Request) -> bool {
        self.service.meets_faults(request)
    }
}

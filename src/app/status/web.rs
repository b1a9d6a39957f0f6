//! How the live feed does.

use trapline_schemas::Timestamp;

use super::time;
use crate::app::certificates;
use crate::control::status::{Fault, Health, WebStatus};
use crate::web::{STREAMS_MAX, Web};

pub(super) fn status(web: &Web, faults: &mut Vec<Fault>) -> WebStatus {
    let now = Timestamp::now();
    let (look, listening) = (web.look(), web.listening());
    let certificate = look.tls.as_ref().map(|tls| certificates::status(tls.until, true, now));
    faults.extend(certificate.as_ref().and_then(|one| certificates::fault("web", one)));
    let unbound = listening.error.as_ref().map(ToString::to_string);
    let trouble = web.tokens().trouble();
    let mut fault = |what: &Option<String>, since, hint: &str| {
        faults.extend(what.clone().map(|what| Fault {
            health: Health::Degraded,
            part: "web".into(),
            what,
            since,
            hint: hint.to_owned(),
        }));
    };
    let since = time(listening.since);
    fault(&unbound, Some(since.clone()), UNBOUND);
    fault(&trouble, None, UNREAD);
    let error = unbound.or(trouble);
    WebStatus {
        address: listening.address.to_string(),
        bound: listening.error.is_none(),
        health: error.as_ref().map_or(Health::Ok, |_| Health::Degraded),
        error,
        since,
        tls: look.tls.is_some(),
        certificate,
        tokens: web.tokens().count(now.micros().div_euclid(1_000_000)) as u64,
        connections: web.open_connections() as u64,
        streams: web.open_streams() as u64,
        streams_max: STREAMS_MAX as u64,
    }
}

const UNBOUND: &str = "free the address or change `web.listen`; it is tried again every 30 s";
const UNREAD: &str = "mend the file of tokens: nobody is let in meanwhile";

//! A desk's state, and what it does with requests before its vendor answers.

use serde_json::Value;
use trapline_sink::conformance::web::{Reply, Request, Service};
use uuid::Uuid;

use super::{Checked, Vendor, jira, servicenow, thehive};

/// A case, an incident, an issue.
#[derive(Debug, Clone, Default)]
pub struct Ticket {
    pub id: String,
    /// What the client calls the matter.
    pub reference: String,
    pub title: String,
    pub description: String,
    pub comments: Vec<String>,
    /// In the vendor's words.
    pub severity: String,
    pub closed: bool,
    pub resolution: String,
    /// All else that it was made with.
    pub body: Value,
    pub deleted: bool,
}

impl Ticket {
    /// Ids of the events that it was told.
    fn told(&self) -> Vec<Uuid> {
        let texts = std::iter::once(&self.description).chain(&self.comments);
        texts.flat_map(|text| events_in(text)).collect()
    }
}

/// The ids that stand behind the label `event`.
fn events_in(text: &str) -> Vec<Uuid> {
    let is_id = |at: usize| text.get(at..at + 36).and_then(|id| id.parse::<Uuid>().ok());
    let mut found = Vec::new();
    for at in 0..text.len() {
        let before = text.get(at.saturating_sub(90)..at).unwrap_or_default();
        if let Some(id) = is_id(at)
            && before.contains("event")
            && !before.contains("incident")
            && !text
                .get(..at)
                .unwrap_or_default()
                .ends_with(|ch: char| ch.is_ascii_hexdigit())
        {
            found.push(id);
        }
    }
    found
}

/// What nobody may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    Closed,
    All,
}

/// A desk's state.
#[derive(Debug)]
pub struct Desk {
    pub vendor: Vendor,
    pub tickets: Vec<Ticket>,
    /// Alerts of TheHive: reference, id, whether they became a case.
    pub alerts: Vec<(String, String, Option<String>)>,
    /// How many of the next searches find nothing: the index is late.
    pub late: usize,
    /// A request that holds this text is refused with 400.
    pub poison: Option<&'static str>,
    /// What is asked for with a path that ends so, and changes something, is answered with this status.
    pub sick: Option<(&'static str, u16)>,
    /// How many of the next looks at a case fail.
    pub unread: usize,
    /// Searches find what stands first, whatever is asked for.
    pub strays: bool,
    /// Nothing can be changed in what is closed, or in anything.
    pub locked: Option<Lock>,
    /// What was wrong with requests.
    pub wrong: Vec<String>,
    /// Tokens given out, the last one is good.
    pub tokens: usize,
}

impl Desk {
    pub fn new(vendor: Vendor) -> Self {
        Self {
            vendor,
            tickets: Vec::new(),
            alerts: Vec::new(),
            late: 0,
            poison: None,
            sick: None,
            unread: 0,
            strays: false,
            locked: None,
            wrong: Vec::new(),
            tokens: 0,
        }
    }

    pub fn there(&self) -> Vec<Ticket> {
        self.tickets.iter().filter(|ticket| !ticket.deleted).cloned().collect()
    }

    pub fn told(&self) -> Vec<Uuid> {
        self.tickets.iter().flat_map(Ticket::told).collect()
    }

    pub(super) fn find(&mut self, id: &str) -> Option<&mut Ticket> {
        self.tickets
            .iter_mut()
            .find(|ticket| ticket.id == id && !ticket.deleted)
    }

    /// What a search for a matter finds.
    pub(super) fn found(&self, reference: Option<&str>) -> Option<Ticket> {
        let fits = |ticket: &&Ticket| !ticket.deleted && (self.strays || Some(ticket.reference.as_str()) == reference);
        self.tickets.iter().find(fits).cloned()
    }

    /// Whether a search comes too early.
    pub(super) fn is_late(&mut self) -> bool {
        let late = self.late > 0;
        self.late = self.late.saturating_sub(1);
        late
    }

    pub(super) fn note(&mut self, checked: &Checked, request: &Request) {
        for wrong in &checked.wrong {
            self.wrong
                .push(format!("{} {}: {wrong}", request.method, request.target));
        }
    }
}

impl Service for Desk {
    fn answer(&mut self, request: &Request) -> Reply {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        if let Some(poison) = self.poison.filter(|poison| body.contains(poison)) {
            return refusal(self.vendor, poison);
        }
        let is_look = request.method == "GET"
            && ["/case/", "/issue/", "incident/"]
                .iter()
                .any(|at| request.path().contains(at));
        if is_look && self.unread > 0 {
            self.unread -= 1;
            return Reply::status(503);
        }
        let sick = self
            .sick
            .filter(|(end, _)| request.method != "GET" && request.path().ends_with(end));
        if let Some((_, status)) = sick {
            return Reply::status(status);
        }
        match self.vendor {
            Vendor::TheHive => thehive::answer(self, request),
            Vendor::ServiceNowSir => servicenow::answer(self, "sn_si_incident", request),
            Vendor::ServiceNowIncident => servicenow::answer(self, "incident", request),
            Vendor::JiraCloud => jira::answer(self, 3, request),
            Vendor::JiraDataCenter => jira::answer(self, 2, request),
        }
    }

    fn meets_faults(&self, request: &Request) -> bool {
        let asks = ["/query", "/search", "oauth_token", "/myself", "/current"];
        request.method != "GET" && !asks.iter().any(|ask| request.path().contains(ask))
    }
}

/// What the vendor says of a body that it does not take for a text in it, which it repeats.
fn refusal(vendor: Vendor, poison: &str) -> Reply {
    let said = format!("`{poison}` is not valid");
    let body = match vendor {
        Vendor::TheHive => serde_json::json!({ "type": "BadRequest", "message": said }),
        Vendor::ServiceNowSir | Vendor::ServiceNowIncident => serde_json::json!({
            "error": { "message": "Exception while reading request", "detail": said },
            "status": "failure",
        }),
        Vendor::JiraCloud | Vendor::JiraDataCenter => {
            serde_json::json!({ "errorMessages": [], "errors": { "description": said } })
        }
    };
    Reply::json(400, &body)
}

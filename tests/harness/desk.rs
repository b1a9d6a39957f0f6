//! A vendor's desk, where the `case` sink has its cases: the strict fake of the sink's own tests, and how a trap is set
//! to it.

#[path = "../../sinks/case/tests/fake/mod.rs"]
mod fake;

pub use fake::{Desk, Ticket, Vendor};

/// The table of a sink whose cases are there, as quick as it goes. In: further lines, each with its end.
pub fn table(name: &str, vendor: Vendor, endpoint: &str, more: &str) -> String {
    let (word, login, fields) = (vendor.word(), vendor.login(), vendor.fields());
    format!(
        "[sinks.{name}]\ntype = \"case\"\nvendor = \"{word}\"\nendpoint = \"{endpoint}\"\n{login}\nfields = {fields}\n\
         interval = \"1ms\"\n{more}"
    )
}

/// All that a case says, in order: what it was opened with, then its comments.
pub fn texts(ticket: &Ticket) -> impl Iterator<Item = &str> {
    let comments = ticket.comments.iter().map(String::as_str);
    std::iter::once(ticket.description.as_str()).chain(comments)
}

/// The address of whom a case at TheHive is about; `None` of a crowd.
pub fn source(ticket: &Ticket) -> Option<&str> {
    let observables = ticket.body["observables"].as_array()?;
    let address = observables.iter().find(|observable| observable["dataType"] == "ip")?;
    address["data"].as_str()
}

//! Events as the interpreter sees them.

use std::net::IpAddr;

use cel::ExecutionError;
use cel::common::types::{CelBool, CelBytes, CelDouble, CelInt, CelList, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use ipnet::IpNet;
use trapline_schemas::{Event, Timestamp, Value};

use super::paths::Reference;

/// One event and the numbered references into it. A field is made a value when, and only when, it is asked for.
pub(super) struct Facts<'e> {
    pub(super) event: &'e Event,
    pub(super) references: &'e [Reference],
}

impl VariableResolver for Facts<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let reference = self.references.get(variable.parse::<usize>().ok()?)?;
        if reference.presence {
            let present = self.event.resolve(reference.field).is_some();
            return Some(CowVal::owned(CelBool::from(present)));
        }
        match self.event.get(reference.field) {
            Some(Value::Text(text)) => Some(CowVal::owned(CelString::from(text.as_str()))),
            _ => self.event.resolve(reference.field).map(value),
        }
    }
}

fn value<'v>(value: Value) -> CowVal<'v, 'v> {
    match value {
        Value::Text(text) => CowVal::owned(CelString::from(text.to_string())),
        Value::Int(number) => CowVal::owned(CelInt::from(number)),
        Value::Float(number) => CowVal::owned(CelDouble::from(number)),
        Value::Bool(flag) => CowVal::owned(CelBool::from(flag)),
        Value::Ip(ip) => CowVal::owned(CelString::from(ip.to_string())),
        Value::Time(at) => CowVal::owned(CelString::from(date(at))),
        Value::Id(id) => CowVal::owned(CelString::from(id.to_string())),
        Value::Bytes(bytes) => CowVal::owned(CelBytes::from(bytes.into_vec())),
        Value::Texts(texts) => list(texts.iter().map(|text| CelString::from(text.to_string()))),
        Value::Ips(ips) => list(ips.iter().map(|ip| CelString::from(ip.to_string()))),
        Value::Ints(numbers) => list(numbers.into_iter().map(CelInt::from)),
    }
}

fn list<'v, V: Val + 'static>(values: impl Iterator<Item = V>) -> CowVal<'v, 'v> {
    let values: Vec<Box<dyn Val + 'static>> = values.map(|value| Box::new(value) as _).collect();
    CowVal::owned(CelList::from(values))
}

/// RFC 3339 in UTC with milliseconds, as in every rendering; equal width, so text order is time order.
fn date(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.millis())
        .map(|at| format!("{at:.3}"))
        .unwrap_or_default()
}

/// `in_cidr(address, network)`: whether the address is in the network; an error if either is none.
pub(super) fn in_cidr<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [address, network] = args.as_slice() else {
        return Err(ExecutionError::invalid_argument_count(2, args.len()));
    };
    let network =
        network_of(text(network)?).ok_or_else(|| ExecutionError::function_error("in_cidr", "not a network"))?;
    let address: IpAddr = text(address)?
        .parse()
        .map_err(|error| ExecutionError::function_error("in_cidr", error))?;
    Ok(CowVal::owned(CelBool::from(network.contains(&address))))
}

fn text<'a>(value: &'a CowVal<'_, '_>) -> Result<&'a str, ExecutionError> {
    value
        .downcast_ref::<CelString>()
        .map(CelString::inner)
        .ok_or_else(|| ExecutionError::function_error("in_cidr", "not a text"))
}

/// A network as written; a bare address is the network of itself.
pub(super) fn network_of(text: &str) -> Option<IpNet> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

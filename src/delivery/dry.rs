//! How many events of a range would go to a sink, without sending any.

use std::sync::Arc;

use super::feed::{Content, Decoder};
use super::store::Store;
use crate::graph::Graph;
use crate::journal::{JournalError, Offset};

/// Counts the events from `first` to before `end` that reach `sink`; none if the graph has no such sink. Cancel: safe.
pub async fn count_for(
    store: Arc<dyn Store>,
    graph: Arc<Graph>,
    sink: &str,
    (first, end): (Offset, Offset),
) -> Result<u64, JournalError> {
    let Some(node) = graph.sink(sink) else {
        return Ok(0);
    };
    let wanted = graph.ancestry(node);
    let decoder = Decoder {
        store,
        graph: Arc::clone(&graph),
    };
    let (mut next, mut count) = (first, 0);
    while next < end {
        let items = decoder.read(next, None, wanted).await?;
        let Some(last) = items.last() else { break };
        next = last.offset + 1;
        let reaching = items
            .iter()
            .filter(|item| item.offset < end && item.reach.contains(node));
        count += reaching
            .filter(|item| matches!(&item.content, Content::Parcel(parcel) if !graph.is_once(node, &parcel.event)))
            .count() as u64;
        tokio::task::yield_now().await;
    }
    Ok(count)
}

//! The table as it is laid down: one transaction, which may be repeated and then changes nothing.
//!
//! In it are the sets of [`Plan::sets`] and the chain that drops what their members send. What is in the sets stays.

use crate::plan::{CHAIN_SHUT, PRIORITY_SHUT, Plan, Set, comment};
use crate::rules::rule;
use crate::socket::Batch;
use crate::wire::{Builder, numbers as nr};

/// Whose table it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tenure {
    /// This socket's, and it stays without it (since Linux 6.9).
    Owned,
    /// Anybody's with the right to change rules.
    Plain,
}

impl Tenure {
    const fn flags(self) -> u32 {
        match self {
            Self::Owned => nr::TABLE_F_OWNER | nr::TABLE_F_PERSIST,
            Self::Plain => 0,
        }
    }
}

/// Lays the table down.
pub(crate) fn lay(batch: &mut Batch, plan: &Plan, tenure: Tenure) {
    batch.add(nr::NEWTABLE, nr::F_CREATE, |b| write_table(b, &plan.table, tenure));
    for set in plan.sets() {
        lay_set(batch, &plan.table, set, plan.size(set));
    }
    lay_chain(
        batch,
        &plan.table,
        CHAIN_SHUT,
        Some((nr::HOOK_PREROUTING, PRIORITY_SHUT)),
    );
    for set in plan.sets() {
        add_rule(batch, &plan.table, CHAIN_SHUT, &comment(set), |it| {
            it.is_family_of(set).source_in(set).count().end(nr::VERDICT_DROP);
        });
    }
}

fn write_table(b: &mut Builder, name: &str, tenure: Tenure) {
    b.text(nr::TABLE_NAME, name);
    b.u32(nr::TABLE_FLAGS, tenure.flags());
}

/// Takes the table away, with all that is in it.
pub(crate) fn raze(batch: &mut Batch, table: &str) {
    batch.add(nr::DELTABLE, 0, |b| b.text(nr::TABLE_NAME, table));
}

/// Makes a table and takes it away again, which shows whether the kernel has the kind.
pub(crate) fn probe(batch: &mut Batch, table: &str, tenure: Tenure) {
    let name = format!("{table}_probe");
    batch.add(nr::NEWTABLE, nr::F_CREATE, |b| write_table(b, &name, tenure));
    raze(batch, &name);
}

/// Lays a set down.
pub(crate) fn lay_set(batch: &mut Batch, table: &str, set: Set, size: u32) {
    let (kind, length) = set.key();
    batch.add(nr::NEWSET, nr::F_CREATE, |b| {
        b.text(nr::SET_TABLE, table);
        b.text(nr::SET_NAME, set.name());
        b.u32(nr::SET_FLAGS, set.flags());
        b.u32(nr::SET_KEY_TYPE, kind);
        b.u32(nr::SET_KEY_LEN, length);
        // The kernel wants a number by which later messages could mean this set; they say its name.
        b.u32(nr::SET_ID, set as u32 + 1);
        b.nest(nr::SET_DESC, |b| b.u32(nr::DESC_SIZE, size));
    });
}

/// Lays a chain down, without rules; one that packets enter by themselves has a hook and a priority there.
pub(crate) fn lay_chain(batch: &mut Batch, table: &str, chain: &str, hook: Option<(u32, i32)>) {
    batch.add(nr::NEWCHAIN, nr::F_CREATE, |b| {
        b.text(nr::CHAIN_TABLE, table);
        b.text(nr::CHAIN_NAME, chain);
        let Some((hook, priority)) = hook else { return };
        b.nest(nr::CHAIN_HOOK, |b| {
            b.u32(nr::HOOK_NUM, hook);
            b.raw(nr::HOOK_PRIORITY, &priority.to_be_bytes());
        });
        b.u32(nr::CHAIN_POLICY, nr::VERDICT_ACCEPT);
        b.text(nr::CHAIN_TYPE, "filter");
    });
    batch.add(nr::DELRULE, 0, |b| {
        b.text(nr::RULE_TABLE, table);
        b.text(nr::RULE_CHAIN, chain);
    });
}

/// Adds a rule at the end of a chain.
pub(crate) fn add_rule(
    batch: &mut Batch,
    table: &str,
    chain: &str,
    comment: &str,
    fill: impl FnOnce(&mut crate::rules::Expressions<'_>),
) {
    batch.add(nr::NEWRULE, nr::F_CREATE | nr::F_APPEND, |b| {
        rule(b, table, chain, comment, fill);
    });
}

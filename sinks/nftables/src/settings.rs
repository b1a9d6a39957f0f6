//! What an operator may say of the table.

use trapline_sink::{Fault, FaultKind};

/// How the table is named and how much it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Name of the table, of family `inet`: 1 to [`TABLE_CHARS_MAX`] of `a-z`, `0-9` and `_`, a letter first.
    pub table: String,
    /// Most hosts, and most networks, that are shut out at once: 1 to [`MEMBERS_MAX`]. Putting one takes the same time
    /// however many stand; for reading all of them the kernel begins anew every 32 KiB, so that it takes a second for
    /// 100,000 and minutes for a million, beside what cannot wait.
    pub members: usize,
    /// 64: an IPv6 /64 is matched by the masked address, at the cost of a host. 128: it is an interval like any other.
    pub v6_prefix: u8,
    /// Whether the table belongs to this process alone while it runs, if the kernel can (6.9 or newer): nobody else
    /// changes or flushes it. Otherwise what others do to it is repaired.
    pub owned: bool,
}

/// Longest name of a table, characters.
pub const TABLE_CHARS_MAX: usize = 32;
/// Most members that a table may have room for.
pub const MEMBERS_MAX: usize = 2_000_000;

impl Default for Settings {
    fn default() -> Self {
        Self {
            table: "trapline".to_owned(),
            members: 100_000,
            v6_prefix: 128,
            owned: true,
        }
    }
}

impl Settings {
    /// Errors: a value is out of its bounds; names it and them.
    pub fn check(&self) -> Result<(), Fault> {
        let is_name = |name: &str| {
            name.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let starts = self.table.starts_with(|first: char| first.is_ascii_lowercase());
        if !starts || !is_name(&self.table) || self.table.len() > TABLE_CHARS_MAX {
            return Err(config(format!(
                "table `{}` is no name of 1 to {TABLE_CHARS_MAX} characters of a-z, 0-9 and _, a letter first",
                self.table.escape_debug()
            )));
        }
        if !(1..=MEMBERS_MAX).contains(&self.members) {
            return Err(config(format!(
                "members `{}` is out of range 1..={MEMBERS_MAX}",
                self.members
            )));
        }
        match self.v6_prefix {
            64 | 128 => Ok(()),
            other => Err(config(format!("v6_prefix `{other}` is neither 64 nor 128"))),
        }
    }
}

fn config(message: String) -> Fault {
    let kind = FaultKind::Config;
    Fault { kind, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_is_named_with_them() {
        assert_eq!(Settings::default().check(), Ok(()));
        let with = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().unwrap_err().message
        };
        assert!(with(|it| it.table = "Trap".to_owned()).contains("table `Trap`"));
        assert!(with(|it| it.table = "1".to_owned()).contains("a letter first"));
        assert!(with(|it| it.table = String::new()).contains("1 to 32"));
        assert!(with(|it| it.table = "x".repeat(33)).contains("1 to 32"));
        assert!(with(|it| it.members = 0).contains("members `0` is out of range 1..=2000000"));
        assert!(with(|it| it.v6_prefix = 48).contains("v6_prefix `48`"));
    }
}

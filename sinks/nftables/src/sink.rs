//! The set sink.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use trapline_sink::set::{Applied, Change, SetCommon, SetLimits, SetSink, Spared, Standing};
use trapline_sink::{Fault, FaultKind};

use crate::Settings;

/// A table of the packet filter that equals what is decided.
#[derive(Debug)]
pub struct Nftables {
    settings: Settings,
    spared: RwLock<Arc<Spared>>,
}

impl Nftables {
    /// Opens a way to the kernel; nothing is changed there. Call it within a runtime.
    ///
    /// Errors: a setting is out of bounds, or this kernel lets nobody speak to its packet filter.
    pub fn open(settings: &Settings, _common: &SetCommon) -> Result<Arc<Self>, Fault> {
        settings.check()?;
        Ok(Arc::new(Self {
            settings: settings.clone(),
            spared: RwLock::default(),
        }))
    }
}

fn absent() -> Fault {
    Fault {
        kind: FaultKind::Local,
        message: "nftables: not yet reachable".to_owned(),
    }
}

#[async_trait]
impl SetSink for Nftables {
    fn limits(&self) -> SetLimits {
        SetLimits {
            changes: 4096,
            members: self.settings.members,
            slack: Duration::from_secs(2),
        }
    }

    fn spare(&self, spared: Arc<Spared>) {
        *self.spared.write().unwrap_or_else(PoisonError::into_inner) = spared;
    }

    async fn stands(&self) -> Result<Vec<Standing>, Fault> {
        Err(absent())
    }

    async fn apply(&self, changes: &[Change]) -> Applied {
        Applied::retry(changes.len(), absent())
    }

    async fn check(&self) -> Result<String, Fault> {
        Err(absent())
    }

    fn can_arm(&self) -> bool {
        true
    }
}

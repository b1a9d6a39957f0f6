//! fail2ban: a jail of our own, which no log feeds, through `fail2ban-client`.
//!
//! In: edits. Out: `set JAIL banip …`, `set JAIL unbanip …`, `set JAIL bantime …`; `get JAIL banip --with-time` and `get
//! JAIL logpath`. What a ban does, and where, is the jail's action, which the operator chooses (`config/fail2ban/`).
//!
//! Invariants:
//! 1. The jail is ours: it reads `/dev/null` alone, so nothing but a command can fill it. One that reads a log is refused,
//!    whatever its name: its bans are others'. Bans of other jails are neither read nor changed.
//! 2. What somebody bans in our jail by hand is taken out, as what stands in any set of ours: it is no decision. `trapline
//!    decisions add`, or a jail of their own, is the way.
//! 3. Each ban has an end of its own in fail2ban, at most [`STEP_SECS`] and a little later than wanted, also if we are gone:
//!    a ban that is repeated with a longer `bantime` is prolonged to that and keeps it. So the jail's `bantime` is
//!    [`STEP_SECS`] but for the moment of a command.
//!
//! It does not start or reload fail2ban, and does not make the jail. fail2ban tells times in its host's zone without naming
//! it; ours must be the same.
//!
//! Source: fail2ban-client(1), fail2ban 1.0.2 `banmanager.py` (`addBanTicket`), `actions.py` (`removeBannedIP`); tried.

mod bans;

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use trapline_schemas::Timestamp;
use trapline_sink::set::{SetLimits, Standing, Target};
use trapline_sink::{Fault, FaultKind};

use crate::entry::standing;
use crate::run::{Answer, Programs};
use crate::sink::{Backend, Edits};
use bans::{Bans, Plan, SLACK, STEP_SECS, reads_nothing};

const CLIENT: &str = "fail2ban-client";

/// A jail.
#[derive(Debug)]
pub(crate) struct Fail2ban {
    programs: Programs,
    jail: String,
    /// As arguments; none: where fail2ban's own configuration says.
    socket: Vec<String>,
    members: usize,
}

impl Fail2ban {
    /// Errors: `fail2ban-client` is missing.
    pub fn new(programs: Programs, jail: &str, socket: Option<&Path>, members: usize) -> Result<Self, Fault> {
        programs.find(CLIENT)?;
        Ok(Self {
            programs,
            jail: jail.to_owned(),
            socket: socket.map_or_else(Vec::new, |at| vec!["-s".to_owned(), at.display().to_string()]),
            members,
        })
    }

    /// Asks the server; `act` is `get` or `set`. Errors: it is not there, has no such jail, or refuses.
    async fn ask(&self, act: &str, words: &[String]) -> Result<String, Fault> {
        let mut arguments = self.socket.clone();
        arguments.extend([act.to_owned(), self.jail.clone()]);
        arguments.extend_from_slice(words);
        let answer = self.programs.run(CLIENT, &arguments).await?;
        match answer.is_good() {
            true => Ok(answer.out),
            false => Err(self.fault(&answer, act, words)),
        }
    }

    fn fault(&self, answer: &Answer, act: &str, words: &[String]) -> Fault {
        let config = |kind, message| Fault { kind, message };
        if answer.complains_of("does not exist") {
            let message = format!(
                "fail2ban has no jail `{}`: install `jail.d/trapline.conf` and `filter.d/trapline.conf` (config/fail2ban) and run `fail2ban-client reload`",
                self.jail
            );
            return config(FaultKind::Config, message);
        }
        if answer.complains_of("Permission denied") {
            let message = "needs root: fail2ban's socket is closed to this user".to_owned();
            return config(FaultKind::Auth, message);
        }
        if answer.complains_of("Is fail2ban running") {
            let message =
                "fail2ban is not running, or has another socket: start it (`systemctl start fail2ban`) or set `socket`";
            return config(FaultKind::Unreachable, message.to_owned());
        }
        let word = words.first().map_or("", String::as_str);
        answer.fault(&format!("{CLIENT} {act} {} {word}", self.jail))
    }

    async fn set(&self, word: &str, values: impl IntoIterator<Item = String>) -> Result<(), Fault> {
        let words: Vec<_> = std::iter::once(word.to_owned()).chain(values).collect();
        match words.len() {
            1 => Ok(()),
            _ => self.ask("set", &words).await.map(drop),
        }
    }

    /// Errors: the jail reads something, so its bans are others'.
    async fn is_ours(&self) -> Result<(), Fault> {
        let said = self.ask("get", &["logpath".to_owned()]).await?;
        match reads_nothing(&said) {
            true => Ok(()),
            false => Err(Fault {
                kind: FaultKind::Config,
                message: format!(
                    "jail `{}` reads logs, so its bans are not ours to lift: make one that reads `/dev/null` alone (config/fail2ban)",
                    self.jail
                ),
            }),
        }
    }

    async fn bans(&self) -> Result<Bans, Fault> {
        let said = self.ask("get", &["banip".to_owned(), "--with-time".to_owned()]).await?;
        Bans::read(&said, &TimeZone::system(), Timestamp::now())
    }

    /// Bans `puts`, each with its end: first for a step, then prolonged, those that end together at once.
    async fn ban(&self, new: Vec<Target>, puts: &BTreeMap<u64, Vec<Target>>) -> Result<(), Fault> {
        self.set("bantime", [STEP_SECS.to_string()]).await?;
        self.set("banip", shown(&new)).await?;
        let longer = puts.iter().filter(|(secs, _)| **secs > STEP_SECS);
        let result = self.prolong(longer).await;
        self.set("bantime", [STEP_SECS.to_string()]).await?;
        result
    }

    async fn prolong(&self, longer: impl Iterator<Item = (&u64, &Vec<Target>)> + Send) -> Result<(), Fault> {
        for (secs, targets) in longer {
            self.set("bantime", [secs.to_string()]).await?;
            self.set("banip", shown(targets)).await?;
        }
        Ok(())
    }
}

fn shown(targets: &[Target]) -> Vec<String> {
    targets.iter().map(ToString::to_string).collect()
}

#[async_trait]
impl Backend for Fail2ban {
    fn limits(&self) -> SetLimits {
        SetLimits {
            changes: 100,
            members: self.members,
            slack: SLACK,
        }
    }

    async fn list(&self, mends: bool) -> Result<Vec<Standing>, Fault> {
        self.is_ours().await?;
        let Bans { bans, foreign } = self.bans().await?;
        if mends {
            self.set("unbanip", foreign).await?;
        }
        Ok(bans
            .into_iter()
            .map(|(target, until)| standing(target, Some(until)))
            .collect())
    }

    async fn edit(&self, edits: &Edits) -> Result<(), Fault> {
        self.is_ours().await?;
        let bans = self.bans().await?.bans;
        let plan = Plan::new(edits, &bans, Timestamp::now());
        self.set("unbanip", shown(&plan.lift)).await?;
        match plan.by_end.is_empty() {
            true => Ok(()),
            false => self.ban(plan.new, &plan.by_end).await,
        }
    }

    async fn look(&self) -> Result<String, Fault> {
        self.is_ours().await?;
        let bans = self.bans().await?.bans;
        Ok(format!("fail2ban answers, {} bans in jail `{}`", bans.len(), self.jail))
    }

    fn notes(&self) -> Vec<String> {
        vec![
            "starts `fail2ban-client`, so it needs root and stands outside the sandbox".to_owned(),
            format!(
                "what others ban in jail `{}` by hand is lifted; use `decisions add`",
                self.jail
            ),
        ]
    }

    fn destination(&self) -> String {
        format!("fail2ban jail {}", self.jail)
    }
}

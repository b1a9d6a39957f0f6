//! The sink that writes a zone file.
//!
//! Changes are kept until all that was wanted stands, then the file is written as a whole: beside its place, synced, and
//! renamed into it, so that a resolver reads the one before or the one behind, never half of one. What stands is always
//! what the file says, not what is remembered. No command is run: whoever watches the file (a systemd path unit) tells
//! the resolver.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use trapline_schemas::Timestamp;
use trapline_sink::set::{Applied, Change, Member, Put, SetLimits, SetSink, Spared, Standing, Target};
use trapline_sink::{Fault, FaultKind, Measure};

use crate::ledger::{Ledger, Own};
use crate::plan::standings;
use crate::rules::Rules;
use crate::sink::{CHANGES, SLACK, notes, too_long};
use crate::trigger::{Kind, Trigger};
use crate::zonefile::{Content, Entries, Entry, next_serial, read, written};

/// Largest file that is read: more than all members that may stand.
const FILE_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// The resolver must read it, whoever it runs as.
const FILE_MODE: u32 = 0o644;

/// Policies in a file.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    rules: Rules,
    members: usize,
    observes: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What is to be in the file; `None` before it was read.
    entries: Option<Entries>,
    /// The last serial that was seen or written.
    serial: Option<u32>,
    /// Whether the file is otherwise.
    is_dirty: bool,
}

impl File {
    /// A sink of this file, which need not be there.
    pub fn new(path: PathBuf, rules: Rules, members: usize, observes: bool) -> Self {
        let state = Mutex::default();
        Self {
            path,
            rules,
            members,
            observes,
            state,
        }
    }

    /// Reads the file; what was to be written before is written first.
    async fn load(&self, state: &mut State) -> Result<(), Fault> {
        if state.is_dirty && state.entries.is_some() {
            self.store(state).await?;
        }
        let text = self.blocking(|path| text_of(&path)).await?;
        let Content { serial, entries } = read(&text, &self.rules.zone);
        let expected = serial.map(|serial| written(&self.rules.zone, self.rules.ttl, serial, &entries));
        state.is_dirty = expected.is_none_or(|expected| expected != text);
        state.entries = Some(entries);
        state.serial = latest(state.serial, serial);
        Ok(())
    }

    async fn store(&self, state: &mut State) -> Result<(), Fault> {
        if self.observes {
            return Ok(());
        }
        let serial = next_serial(state.serial, Timestamp::now());
        let entries = state.entries.get_or_insert_default();
        let text = written(&self.rules.zone, self.rules.ttl, serial, entries);
        self.blocking(move |path| replace(&path, text.as_bytes())).await?;
        state.serial = Some(serial);
        state.is_dirty = false;
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let path = self.path.clone();
        let done = tokio::task::spawn_blocking(move || work(path)).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| Fault {
                kind: FaultKind::Local,
                message: format!("zone file {}: {error}", self.path.display()),
            })
    }

    fn change(&self, change: &Change, entries: &mut Entries) -> Put {
        let clear = |entries: &mut Entries, target: Target| {
            for kind in Kind::ALL {
                entries.remove(&Trigger::new(kind, target.net()));
            }
        };
        match change {
            Change::Take(standing) => clear(entries, standing.target),
            Change::Put(member) => match self.entry(member) {
                Err(put) => return put,
                Ok((trigger, entry)) => {
                    clear(entries, member.target);
                    entries.insert(trigger, entry);
                }
            },
        }
        Put::DONE
    }

    fn entry(&self, member: &Member) -> Result<(Trigger, Entry), Put> {
        let trigger = self.rules.trigger(member)?;
        self.rules.names(&trigger)?;
        Ok((
            trigger,
            Entry::new(self.rules.policy.clone(), member.decision, member.until),
        ))
    }
}

/// The later of two serials, the first one if they are equally far.
fn latest(one: Option<u32>, other: Option<u32>) -> Option<u32> {
    match (one, other) {
        (Some(one), Some(other)) if other.wrapping_sub(one) < 1 << 31 => Some(other),
        (one, other) => one.or(other),
    }
}

/// The file's text; empty if there is none.
fn text_of(path: &Path) -> io::Result<String> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other(format!(
            "is larger than {FILE_BYTES_MAX} bytes: it is not ours"
        ))),
        false => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// Puts a text in a file's place, so that it is there as a whole or not at all, also after a power loss.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("is no name of a file"))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(".new");
    let beside = folder.join(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    fs::File::open(folder)?.sync_all()
}

#[async_trait]
impl SetSink for File {
    fn limits(&self) -> SetLimits {
        SetLimits {
            changes: CHANGES,
            members: self.members,
            slack: SLACK,
        }
    }

    fn spare(&self, spared: Arc<Spared>) {
        self.rules.spare(spared);
    }

    async fn stands(&self) -> Result<Vec<Standing>, Fault> {
        let mut state = self.state.lock().await;
        self.load(&mut state).await?;
        let entries = state.entries.iter().flatten();
        let own = entries.map(|(trigger, entry)| {
            let Entry { policy, decision, .. } = entry;
            let (policy, decision) = (policy.clone(), *decision);
            (
                *trigger,
                Own {
                    policy,
                    decision,
                    is_shared: false,
                },
            )
        });
        let ledger = Ledger {
            own: own.collect(),
            ..Ledger::default()
        };
        let (standings, strangers) = standings(&ledger, &self.rules);
        if !strangers.is_empty() {
            let is_target = |trigger: &Trigger| Target::network(trigger.net).is_ok();
            state
                .entries
                .iter_mut()
                .for_each(|entries| entries.retain(|trigger, _| is_target(trigger)));
            state.is_dirty = true;
        }
        Ok(standings)
    }

    async fn apply(&self, changes: &[Change]) -> Applied {
        let mut state = self.state.lock().await;
        if state.entries.is_none()
            && let Err(fault) = self.load(&mut state).await
        {
            return Applied::retry(changes.len(), fault);
        }
        state.is_dirty = true;
        let entries = state.entries.get_or_insert_default();
        Applied {
            outcomes: changes.iter().map(|change| self.change(change, entries)).collect(),
            retry_after: None,
            fault: None,
        }
    }

    async fn settled(&self) -> Result<(), Fault> {
        let mut state = self.state.lock().await;
        if state.entries.is_none() {
            self.load(&mut state).await?;
        }
        match state.is_dirty {
            true => self.store(&mut state).await,
            false => Ok(()),
        }
    }

    async fn check(&self) -> Result<String, Fault> {
        let text = self.blocking(|path| text_of(&path)).await?;
        self.blocking(|path| fs::metadata(path.parent().unwrap_or(Path::new("."))).map(drop))
            .await?;
        let entries = read(&text, &self.rules.zone).entries.len();
        Ok(format!("zone file {} with {entries} entries", self.path.display()))
    }

    fn notes(&self) -> Vec<String> {
        notes(&self.rules)
    }

    fn measures(&self) -> Vec<Measure> {
        vec![too_long(&self.rules)]
    }

    fn destination(&self) -> Option<String> {
        Some(format!("`{}` in {}", self.rules.zone, self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use trapline_sink::set::{Grounds, Wanted, compare};
    use uuid::Uuid;

    use super::*;
    use crate::policy::Policy;
    use crate::zone::Zone;

    fn sink(path: &Path, policy: Policy) -> File {
        let zone = Zone::parse("rpz.example").unwrap();
        File::new(
            path.to_owned(),
            Rules::new(zone, "fra-1", Kind::ALL.to_vec(), policy, 30, Vec::new()),
            100,
            false,
        )
    }

    fn wanted(targets: &[&str]) -> Wanted {
        let member = |target: &&str| Member {
            target: target.parse().unwrap(),
            inside: target.starts_with("10."),
            since: Timestamp::from_micros(0),
            until: Timestamp::from_micros(i64::MAX),
            decision: Uuid::from_u128(7),
            gravity: 50,
            reason: "credentials".into(),
            grounds: Grounds::Handshake,
            handle: None,
        };
        targets
            .iter()
            .map(member)
            .map(|member| (member.target, member))
            .collect()
    }

    /// What the engine does; how many changes it took.
    async fn reconcile(sink: &File, wanted: &Wanted) -> usize {
        let stands = sink.stands().await.unwrap();
        let changes = compare(wanted, &stands, Timestamp::now(), sink.limits());
        if !changes.is_empty() {
            let applied = sink.apply(&changes).await;
            assert!(
                applied.outcomes.iter().all(|outcome| *outcome == Put::DONE),
                "{applied:?}"
            );
        }
        sink.settled().await.unwrap();
        changes.len()
    }

    fn serial(path: &Path) -> u32 {
        let zone = Zone::parse("rpz.example").unwrap();
        read(&fs::read_to_string(path).unwrap(), &zone).serial.unwrap()
    }

    #[tokio::test]
    async fn the_file_is_made_to_equal_what_is_wanted_and_mended_when_somebody_edits_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpz.zone");
        let sink = sink(&path, Policy::Drop);
        assert_eq!(reconcile(&sink, &wanted(&[])).await, 0);
        let first = serial(&path);
        let both = wanted(&["10.0.0.7", "2001:db8::9"]);
        assert_eq!(reconcile(&sink, &both).await, 2);
        let good = fs::read_to_string(&path).unwrap();
        assert!(
            good.contains("\n32.7.0.0.10.rpz-client-ip.rpz.example. 30 IN CNAME rpz-drop."),
            "{good}"
        );
        assert!(good.contains("\n128.9.zz.db8.2001.rpz-ip.rpz.example."), "{good}");
        let second = serial(&path);
        assert!(second > first, "{first} {second}");
        assert_eq!(reconcile(&sink, &both).await, 0);
        assert_eq!(serial(&path), second, "nothing to write");
        fs::write(
            &path,
            good.replacen("rpz-drop.", "rpz-passthru.", 1) + "www.example.rpz.example. 30 IN CNAME .\n",
        )
        .unwrap();
        assert_eq!(reconcile(&sink, &both).await, 1);
        assert!(serial(&path) > second);
        let mended = fs::read_to_string(&path).unwrap();
        assert!(
            mended.contains("rpz-drop.") && !mended.contains("www.") && !mended.contains("passthru"),
            "{mended}"
        );
        fs::remove_file(&path).unwrap();
        assert_eq!(reconcile(&sink, &both).await, 2);
        assert_eq!(reconcile(&sink, &wanted(&[])).await, 2);
        assert!(!fs::read_to_string(&path).unwrap().contains("CNAME"));
        let names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["rpz.zone"]);
    }

    #[tokio::test]
    async fn another_policy_is_written_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpz.zone");
        let one = wanted(&["10.0.0.7"]);
        reconcile(&sink(&path, Policy::Drop), &one).await;
        let restarted = sink(&path, Policy::Nodata);
        assert_eq!(reconcile(&restarted, &one).await, 1);
        assert!(fs::read_to_string(&path).unwrap().contains("CNAME *. ;"));
        assert_eq!(reconcile(&restarted, &one).await, 0);
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_is_a_local_fault_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        let path = inner.join("rpz.zone");
        let sink = sink(&path, Policy::Drop);
        let member = wanted(&["10.0.0.7"]).into_values().next().unwrap();
        sink.apply(&[Change::Put(member)]).await;
        assert_eq!(sink.settled().await.unwrap_err().kind, FaultKind::Local);
        fs::create_dir(&inner).unwrap();
        assert_eq!(sink.stands().await.unwrap().len(), 1);
        assert!(path.exists());
    }
}

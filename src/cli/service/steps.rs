//! The steps of an install, each done or told.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use super::record::Record;

/// Whether steps are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// They are.
    Act,
    /// They are only told.
    Tell,
}

/// Whose a file is to be; what is `None` stays the caller's.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Owner {
    user: Option<u32>,
    group: Option<u32>,
}

impl Owner {
    /// The caller's file, readable for the group.
    pub(super) const fn group_alone(self) -> Self {
        Self {
            user: None,
            group: self.group,
        }
    }

    fn take(self, path: &Path) -> io::Result<()> {
        match (self.user, self.group) {
            (None, None) => Ok(()),
            (user, group) => chown(path, user, group),
        }
    }
}

/// Takes steps, and keeps what was said of them.
#[derive(Debug)]
pub(super) struct Steps<'a> {
    root: &'a Path,
    mode: Mode,
    /// One line each.
    pub(super) lines: Vec<String>,
}

impl<'a> Steps<'a> {
    pub(super) const fn new(root: &'a Path, mode: Mode) -> Self {
        Self {
            root,
            mode,
            lines: Vec::new(),
        }
    }

    /// Says what is done, or would be; whether it is to be done.
    fn begin(&mut self, done: &str, undone: &str, what: &str) -> bool {
        let acts = self.mode == Mode::Act;
        let word = if acts { done } else { undone };
        self.lines.push(format!("{word} {what}"));
        acts
    }

    /// Makes a system user without a login, unless there is one of the name; gives its ids, as far as they are known.
    pub(super) fn user(&mut self, name: &str, home: &str, record: &mut Record) -> anyhow::Result<Owner> {
        if let Some(owner) = self.owner(name) {
            self.lines.push(format!("kept user {name}"));
            return Ok(self.permitted(owner));
        }
        if !self.begin("made", "would make", &format!("user {name}")) {
            return Ok(Owner::default());
        }
        let line = format!("u {name} - \"trapline\" {home}");
        let root = format!("--root={}", self.root.display());
        call("systemd-sysusers", &[&root, "--inline", &line])?;
        record.user = Some(name.to_owned());
        let owner = self.owner(name);
        owner
            .map(|owner| self.permitted(owner))
            .with_context(|| format!("user `{name}` is not there after it was made"))
    }

    /// Only root gives files away.
    fn permitted(&self, owner: Owner) -> Owner {
        match rustix::process::geteuid().is_root() {
            true => owner,
            false => Owner::default(),
        }
    }

    /// The ids of a user: of the running system also if they come from a directory, else of the root's own file.
    fn owner(&self, name: &str) -> Option<Owner> {
        let line = match self.root == Path::new("/") {
            true => call("getent", &["passwd", name]).ok()?,
            false => {
                let all = fs::read_to_string(self.root.join("etc/passwd")).ok()?;
                let mut lines = all.lines();
                lines.find(|line| line.split(':').next() == Some(name))?.to_owned()
            }
        };
        let mut ids = line.trim().split(':').skip(2).map(str::parse);
        Some(Owner {
            user: Some(ids.next()?.ok()?),
            group: Some(ids.next()?.ok()?),
        })
    }

    /// Makes a folder, with those above it, unless it is there.
    pub(super) fn folder(&mut self, path: &str, mode: u32, owner: Owner, record: &mut Record) -> anyhow::Result<()> {
        let full = self.root.join(path);
        if full.exists() {
            self.lines.push(format!("kept /{path}"));
            return Ok(());
        }
        if !self.begin("made", "would make", &format!("/{path}")) {
            return Ok(());
        }
        let make = || {
            fs::create_dir_all(full.parent().unwrap_or(self.root))?;
            DirBuilder::new().mode(mode).create(&full)?;
            owner.take(&full)
        };
        make().with_context(|| format!("failed to make `{}`", full.display()))?;
        record.folders.push(path.to_owned());
        Ok(())
    }

    /// Writes a file that belongs to a person from then on, unless one is there.
    pub(super) fn file(
        &mut self,
        path: &str,
        mode: u32,
        owner: Owner,
        text: &str,
        record: &mut Record,
    ) -> anyhow::Result<()> {
        if self.root.join(path).symlink_metadata().is_ok() {
            self.lines.push(format!("kept /{path}"));
            return Ok(());
        }
        if self.begin("wrote", "would write", &format!("/{path}")) {
            self.write(path, mode, owner, text)?;
            record.note_file(path, text);
        }
        Ok(())
    }

    /// Writes a file of trapline's own, also over one that an earlier install wrote and nobody changed.
    pub(super) fn own_file(&mut self, path: &str, text: &str, record: &mut Record) -> anyhow::Result<()> {
        let full = self.root.join(path);
        if fs::read(&full).is_ok_and(|found| found == text.as_bytes()) {
            self.lines.push(format!("kept /{path}"));
            return Ok(());
        }
        if full.symlink_metadata().is_ok() && !record.is_as_written(self.root, path) {
            bail!("/{path} is there and not as an earlier install wrote it: move it away, or keep to it");
        }
        if self.begin("wrote", "would write", &format!("/{path}")) {
            self.write(path, 0o644, Owner::default(), text)?;
            record.note_file(path, text);
        }
        Ok(())
    }

    /// Whole or not at all: a unit that is half there is worse than none.
    fn write(&self, path: &str, mode: u32, owner: Owner, text: &str) -> anyhow::Result<()> {
        let full = self.root.join(path);
        let fresh = full.with_extension("new");
        let write = || {
            fs::create_dir_all(full.parent().unwrap_or(self.root))?;
            // Left by an install that was cut short.
            let _ = fs::remove_file(&fresh);
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            owner.take(&fresh)?;
            fs::rename(&fresh, &full)
        };
        write().with_context(|| format!("failed to write `{}`", full.display()))
    }

    /// Writes down what was made.
    pub(super) fn keep(&self, record: &Record) -> anyhow::Result<()> {
        if self.mode == Mode::Tell {
            return Ok(());
        }
        let path = Record::path(self.root);
        let text = serde_json::to_string_pretty(record)?;
        fs::write(&path, text).with_context(|| format!("failed to write `{}`", path.display()))
    }

    /// Tells the running service manager something.
    pub(super) fn systemctl(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        if self.begin("ran", "would run", &format!("systemctl {}", arguments.join(" "))) {
            call("systemctl", arguments)?;
        }
        Ok(())
    }

    /// Removes files that are as they were written, then folders that are empty. What stays is said.
    pub(super) fn take_back(&mut self, record: &mut Record, state: &str) -> anyhow::Result<()> {
        for (path, _) in record.files.iter().rev() {
            let full = self.root.join(path);
            if !full.exists() {
                self.lines.push(format!("/{path} is gone already"));
            } else if !record.is_as_written(self.root, path) {
                self.lines
                    .push(format!("kept /{path}: it was changed since it was installed"));
            } else if self.begin("removed", "would remove", &format!("/{path}")) {
                fs::remove_file(&full).with_context(|| format!("failed to remove `{}`", full.display()))?;
            }
        }
        if self.mode == Mode::Act {
            fs::remove_file(Record::path(self.root)).context("failed to remove the record of the install")?;
        }
        for path in record.folders.iter().rev().filter(|path| format!("/{path}") != state) {
            self.remove_empty(path);
        }
        self.lines
            .push(format!("kept {state}: what was recorded, and its keys"));
        if let Some(user) = &record.user {
            let line = format!("kept user {user}, whose files these are; `userdel {user}` removes it");
            self.lines.push(line);
        }
        Ok(())
    }

    fn remove_empty(&mut self, path: &str) {
        match self.mode {
            Mode::Tell => self
                .lines
                .push(format!("would remove /{path}, if nothing else is in it")),
            Mode::Act => match fs::remove_dir(self.root.join(path)) {
                Ok(()) => self.lines.push(format!("removed /{path}")),
                Err(error) => self.lines.push(format!("kept /{path}: {error}")),
            },
        }
    }
}

/// Runs a program to its end and gives what it printed; its arguments are ours.
fn call(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("failed to run `{program}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{program} {}` failed: {}", arguments.join(" "), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

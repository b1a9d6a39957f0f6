//! `trapline service install|uninstall`: trapline as a service of systemd.
//!
//! In: where the program is, the user it is to run as. Out: a unit, a configuration if there is none, the user, the
//! state folder; a record of what was made, by which `uninstall` takes back exactly that, and leaves what was recorded.
//!
//! Invariants: 1. nothing that was there is overwritten, but for a unit that an earlier install wrote. 2. What a person
//! changed since is left. 3. `--dry-run` changes nothing and says the same. 4. With `--root` the machine's own systemd
//! and users are not touched.

mod record;
mod steps;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::config::EMBEDDED;

use super::output::{self, Out};
use super::{Exit, Globals};
use record::Record;
use steps::{Mode, Steps};

/// The unit as it is packaged.
const UNIT: &str = include_str!("../../../config/packaging/trapline.service");
/// Where a package puts its own.
const PACKAGED: [&str; 2] = [
    "usr/lib/systemd/system/trapline.service",
    "lib/systemd/system/trapline.service",
];
const UNIT_PATH: &str = "etc/systemd/system/trapline.service";
const CONFIG_FOLDER: &str = "etc/trapline";
const CONFIG_PATH: &str = "etc/trapline/trapline.toml";
const STATE: &str = "var/lib/trapline";
const USER: &str = "trapline";
/// Folders that the unit's sandbox hides from the service.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/// What `service` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Write the unit and, if there is none, a configuration; make the user and the state folder
    Install(Install),
    /// Take back what `install` made; state and what was changed since stay
    Uninstall(Where),
}

#[derive(Debug, clap::Args)]
struct Install {
    /// The user it runs as; made if there is none
    #[arg(long, value_name = "NAME", default_value = USER)]
    user: String,
    /// The program that the unit starts [default: this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Also start it, now and with the machine
    #[arg(long)]
    start: bool,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, clap::Args)]
struct Where {
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Work on the system in this folder instead of the running one
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

impl Where {
    /// Whether it is the running system.
    fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }

    fn steps(&self) -> Steps<'_> {
        let mode = if self.dry_run { Mode::Tell } else { Mode::Act };
        Steps::new(&self.root, mode)
    }
}

pub(super) fn run(globals: &Globals, wanted: &Arguments) -> anyhow::Result<Exit> {
    let (place, done) = match &wanted.what {
        What::Install(wanted) => (&wanted.place, install(wanted)),
        What::Uninstall(place) => (place, uninstall(place)),
    };
    let told = done?;
    let mut out = Out::new();
    if globals.json {
        out.json(&serde_json::json!({ "dry_run": place.dry_run, "steps": told.lines }))?;
    } else {
        for line in &told.lines {
            out.line(line)?;
        }
        if let Some(text) = told.unit.filter(|_| place.dry_run) {
            out.line(&format!("\n# {UNIT_PATH}\n{}", text.trim_end()))?;
        }
    }
    out.flush()?;
    told.next
        .iter()
        .filter(|_| !globals.json)
        .for_each(|next| output::hint(next));
    Ok(Exit::Done)
}

/// What was done, what the unit says, what a person does next.
struct Told {
    lines: Vec<String>,
    unit: Option<String>,
    next: Vec<String>,
}

fn install(wanted: &Install) -> anyhow::Result<Told> {
    let place = &wanted.place;
    need_systemd(place)?;
    check_name(&wanted.user)?;
    if let Some(unit) = PACKAGED.iter().find(|unit| place.root.join(unit).exists()) {
        bail!("a package has installed the service: /{unit} is there; `systemctl enable --now trapline` starts it");
    }
    let unit = unit_text(&binary(wanted)?, &wanted.user);
    let mut steps = place.steps();
    let mut record = Record::read(&place.root)?;
    let made = make(&mut steps, &wanted.user, &unit, &mut record);
    // Also what an install made that came to nothing.
    if !record.is_empty() {
        steps.keep(&record)?;
    }
    made?;
    let mut next = vec![format!(
        "edit /{CONFIG_PATH}, then `trapline check --config /{CONFIG_PATH}`"
    )];
    if place.is_live() {
        steps.systemctl(&["daemon-reload"])?;
    }
    match wanted.start && place.is_live() {
        true => steps.systemctl(&["enable", "--now", "trapline.service"])?,
        false => next.push("start it, now and with the machine: `systemctl enable --now trapline`".into()),
    }
    Ok(Told {
        lines: steps.lines,
        unit: Some(unit),
        next,
    })
}

/// Makes what there is to make; `record` says how far it came.
fn make(steps: &mut Steps<'_>, user: &str, unit: &str, record: &mut Record) -> anyhow::Result<()> {
    let owner = steps.user(user, &format!("/{STATE}"), record)?;
    steps.folder(CONFIG_FOLDER, 0o750, owner.group_alone(), record)?;
    steps.folder(STATE, 0o700, owner, record)?;
    steps.file(CONFIG_PATH, 0o640, owner.group_alone(), &config_text(), record)?;
    steps.own_file(UNIT_PATH, unit, record)
}

fn uninstall(place: &Where) -> anyhow::Result<Told> {
    let mut record = Record::read(&place.root)?;
    if record.is_empty() {
        bail!("nothing to take back: `trapline service install` has not made anything here");
    }
    let mut steps = place.steps();
    let live = place.is_live() && sd_notify::booted().unwrap_or(false);
    if live {
        steps.systemctl(&["disable", "--now", "trapline.service"])?;
    }
    steps.take_back(&mut record, &format!("/{STATE}"))?;
    if live {
        steps.systemctl(&["daemon-reload"])?;
    }
    Ok(Told {
        lines: steps.lines,
        unit: None,
        next: Vec::new(),
    })
}

/// The running system must be systemd's; what is in a folder is started later.
fn need_systemd(place: &Where) -> anyhow::Result<()> {
    if place.dry_run || !place.is_live() || sd_notify::booted().context("failed to look for systemd")? {
        return Ok(());
    }
    bail!(
        "this machine was not started by systemd, and there is no other service manager that `service` knows: have \
         yours run `trapline run --config FILE`, restart it when it ends, and send SIGTERM to stop it"
    )
}

fn check_name(user: &str) -> anyhow::Result<()> {
    let mut letters = user.chars();
    let first = letters
        .next()
        .is_some_and(|letter| letter.is_ascii_lowercase() || letter == '_');
    let rest = letters.all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_-".contains(letter));
    if !first || !rest || user.len() > 31 {
        bail!(
            "`{}` is no name of a user: a-z, 0-9, _ and -, at most 31",
            output::safe(user)
        );
    }
    if user == "root" {
        bail!("trapline does not need root, and what it reads is hostile: give it a user of its own");
    }
    Ok(())
}

/// The program, where the service can see it.
fn binary(wanted: &Install) -> anyhow::Result<PathBuf> {
    let named = match &wanted.binary {
        Some(path) => path.clone(),
        None => std::env::current_exe().context("failed to find this program")?,
    };
    let inside = wanted.binary.is_some() && !wanted.place.is_live();
    let path = match inside {
        true => named,
        false => named
            .canonicalize()
            .with_context(|| format!("failed to find `{}`", named.display()))?,
    };
    let shown = path.display();
    let text = path.to_str().unwrap_or_default();
    if !path.is_absolute() || text.is_empty() || text.contains(|c: char| c.is_whitespace() || "%$\"'\\;".contains(c)) {
        bail!("`{shown}` is no path that a unit can hold: put the program where its path is plain");
    }
    if let Some(hidden) = HIDDEN.iter().find(|hidden| path.starts_with(hidden)) {
        bail!(
            "the service cannot see `{shown}`, its sandbox hides {hidden}: install the program first, as with \
             `install -m 0755 {shown} /usr/local/bin/trapline`, and run that one"
        );
    }
    Ok(path)
}

fn unit_text(binary: &Path, user: &str) -> String {
    UNIT.replace("/usr/bin/trapline", &binary.display().to_string())
        .replace("User=trapline", &format!("User={user}"))
        // Its primary group, whatever its name is.
        .replace("Group=trapline\n", "")
}

/// The embedded configuration, with its state where a service keeps it.
fn config_text() -> String {
    EMBEDDED.replace(
        "#state_dir = \"/var/lib/trapline\"",
        "state_dir = \"/var/lib/trapline\"",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_names_the_program_and_the_user_it_was_installed_with() {
        let unit = unit_text(Path::new("/opt/t/trapline"), "lure");
        assert_eq!(unit.matches("/opt/t/trapline ").count(), 2, "{unit}");
        assert!(unit.contains("\nUser=lure\n") && !unit.contains("Group="), "{unit}");
        assert!(!unit.contains("/usr/bin/trapline"), "{unit}");
    }

    #[test]
    fn the_installed_configuration_keeps_its_state_where_the_unit_makes_a_folder() {
        assert!(config_text().contains("\nstate_dir = \"/var/lib/trapline\"\n"));
        assert!(UNIT.contains("\nStateDirectory=trapline\n"));
    }

    #[test]
    fn only_a_plain_name_is_a_user() {
        for good in ["trapline", "_lure-7"] {
            check_name(good).unwrap();
        }
        for bad in ["", "root", "a b", "-x", "a\nUser=root", "7up", &"a".repeat(32)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}

//! ATT&CK by action, service and zone.
//!
//! In: what happened to which service, from where. Out: the techniques that it shows, at most three. A failed login
//! is never T1078, and a captured NTLM response is the client's use of SMB, not T1187 or T1557. Source: MITRE
//! ATT&CK, Enterprise; names are those of version 17, ids are the key.

use crate::event::Action;

/// An ATT&CK tactic.
#[derive(Debug, PartialEq, Eq)]
pub struct Tactic {
    /// Its id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
}

/// An ATT&CK technique used for a tactic, with its sub-technique where one is known.
#[derive(Debug, PartialEq, Eq)]
pub struct Attack {
    /// What it is for.
    pub tactic: &'static Tactic,
    /// Id of the technique, the parent of the sub-technique.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Id and name of the sub-technique.
    pub sub: Option<(&'static str, &'static str)>,
}

impl Attack {
    /// The most exact id: the sub-technique's, else the technique's.
    pub fn exact(&self) -> &'static str {
        self.sub.map_or(self.id, |(id, _)| id)
    }
}

macro_rules! tactics {
    ($($name:ident = $id:literal, $text:literal;)*) => {$(
        static $name: Tactic = Tactic { id: $id, name: $text };
    )*};
}

macro_rules! attacks {
    ($($name:ident = $tactic:ident, $id:literal, $text:literal $(, $sub:literal, $sub_text:literal)?;)*) => {$(
        const $name: Attack = Attack { tactic: &$tactic, id: $id, name: $text, sub: attacks!(@ $($sub, $sub_text)?) };
    )*};
    (@) => { None };
    (@ $sub:literal, $text:literal) => { Some(($sub, $text)) };
}

tactics! {
    RECONNAISSANCE = "TA0043", "Reconnaissance";
    INITIAL_ACCESS = "TA0001", "Initial Access";
    EXECUTION = "TA0002", "Execution";
    CREDENTIAL_ACCESS = "TA0006", "Credential Access";
    DISCOVERY = "TA0007", "Discovery";
    LATERAL_MOVEMENT = "TA0008", "Lateral Movement";
    COLLECTION = "TA0009", "Collection";
    COMMAND_AND_CONTROL = "TA0011", "Command and Control";
}

attacks! {
    SCAN_BLOCKS = RECONNAISSANCE, "T1595", "Active Scanning", "T1595.001", "Scanning IP Blocks";
    SCAN_VULNERABLE = RECONNAISSANCE, "T1595", "Active Scanning", "T1595.002", "Vulnerability Scanning";
    SERVICE_DISCOVERY = DISCOVERY, "T1046", "Network Service Discovery";
    DOMAIN_ACCOUNTS = DISCOVERY, "T1087", "Account Discovery", "T1087.002", "Domain Account";
    REMOTE_SERVICES = LATERAL_MOVEMENT, "T1021", "Remote Services";
    REMOTE_RDP = LATERAL_MOVEMENT, "T1021", "Remote Services", "T1021.001", "Remote Desktop Protocol";
    REMOTE_SMB = LATERAL_MOVEMENT, "T1021", "Remote Services", "T1021.002", "SMB/Windows Admin Shares";
    REMOTE_SSH = LATERAL_MOVEMENT, "T1021", "Remote Services", "T1021.004", "SSH";
    REMOTE_VNC = LATERAL_MOVEMENT, "T1021", "Remote Services", "T1021.005", "VNC";
    REMOTE_WINRM = LATERAL_MOVEMENT, "T1021", "Remote Services", "T1021.006", "Windows Remote Management";
    TOOL_TRANSFER = LATERAL_MOVEMENT, "T1570", "Lateral Tool Transfer";
    GUESSING = CREDENTIAL_ACCESS, "T1110", "Brute Force", "T1110.001", "Password Guessing";
    SPRAYING = CREDENTIAL_ACCESS, "T1110", "Brute Force", "T1110.003", "Password Spraying";
    EXTERNAL_SERVICES = INITIAL_ACCESS, "T1133", "External Remote Services";
    UNIX_SHELL = EXECUTION, "T1059", "Command and Scripting Interpreter", "T1059.004", "Unix Shell";
    INGRESS_TRANSFER = COMMAND_AND_CONTROL, "T1105", "Ingress Tool Transfer";
    NETWORK_SHARES = COLLECTION, "T1039", "Data from Network Shared Drive";
}

macro_rules! lists {
    ($($list:ident = $($attack:ident),*;)*) => {
        /// Techniques that one happening shows together, the main one first; at most three.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Techniques {
            $(#[doc = concat!("The list ", stringify!($list), ".")] $list,)*
        }

        impl Techniques {
            /// Every list.
            pub const ALL: &[Self] = &[$(Self::$list,)*];

            /// The techniques.
            pub const fn list(self) -> &'static [Attack] {
                match self { $(Self::$list => &[$($attack),*],)* }
            }
        }
    };
}

lists! {
    None = ;
    Blocks = SCAN_BLOCKS;
    Vulnerable = SCAN_VULNERABLE;
    Discovery = SERVICE_DISCOVERY;
    DiscoveryBySsh = SERVICE_DISCOVERY, REMOTE_SSH;
    DiscoveryByServices = SERVICE_DISCOVERY, REMOTE_SERVICES;
    Accounts = DOMAIN_ACCOUNTS;
    Ssh = REMOTE_SSH;
    Smb = REMOTE_SMB;
    Rdp = REMOTE_RDP;
    Vnc = REMOTE_VNC;
    WinRm = REMOTE_WINRM;
    Shares = REMOTE_SMB, NETWORK_SHARES;
    LateralTransfer = TOOL_TRANSFER;
    Guessing = GUESSING;
    GuessingFromOutside = GUESSING, EXTERNAL_SERVICES;
    GuessingBySmb = GUESSING, REMOTE_SMB;
    Spraying = SPRAYING;
    Shell = UNIX_SHELL;
    ShellThatFetches = UNIX_SHELL, INGRESS_TRANSFER;
    Transfer = INGRESS_TRANSFER;
}

/// What is known when the techniques are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The protocol the decoy speaks.
    pub service: &'a str,
    /// Whether the source is inside.
    pub inside: bool,
    /// Whether a key was offered rather than a password.
    pub key: bool,
    /// Whether a command would fetch a file.
    pub fetches: bool,
    /// Whether a file was offered rather than asked for.
    pub upload: bool,
}

/// The techniques that an action shows, the main one first; none where it shows none.
pub fn attacks(action: Action, of: Circumstances<'_>) -> Techniques {
    match action {
        Action::Connect | Action::UdpProbe | Action::Handshake => contact(of),
        Action::Credential => credential(of),
        Action::Ntlm => Techniques::Smb,
        Action::Payload | Action::Query => input(action, of),
        Action::File => file(of),
        Action::Scan | Action::SourceFolded if of.inside => Techniques::Discovery,
        Action::Scan | Action::SourceFolded => Techniques::Blocks,
        _ => Techniques::None,
    }
}

fn contact(of: Circumstances<'_>) -> Techniques {
    match (of.inside, of.service) {
        (false, "http" | "https") => Techniques::Vulnerable,
        (false, _) => Techniques::Blocks,
        (true, "ssh") => Techniques::DiscoveryBySsh,
        (true, "telnet") => Techniques::DiscoveryByServices,
        (true, "smb") => Techniques::Smb,
        (true, "rdp") => Techniques::Rdp,
        (true, "vnc") => Techniques::Vnc,
        (true, "winrm") => Techniques::WinRm,
        (true, "ldap" | "kerberos") => Techniques::Accounts,
        (true, _) => Techniques::Discovery,
    }
}

fn credential(of: Circumstances<'_>) -> Techniques {
    match (of.service, of.inside) {
        ("ssh", _) if of.key => Techniques::Ssh,
        ("ssh" | "rdp", false) => Techniques::GuessingFromOutside,
        ("smb", _) => Techniques::GuessingBySmb,
        ("ldap" | "kerberos", _) => Techniques::Spraying,
        _ => Techniques::Guessing,
    }
}

/// What was typed into a shell; the bytes of an SSH session are its key exchange, not yet a command.
fn input(action: Action, of: Circumstances<'_>) -> Techniques {
    match (of.service, action) {
        ("telnet", _) if of.fetches => Techniques::ShellThatFetches,
        ("telnet", _) | ("ssh", Action::Query) => Techniques::Shell,
        _ => contact(of),
    }
}

fn file(of: Circumstances<'_>) -> Techniques {
    match (of.service, of.upload) {
        ("smb", true) => Techniques::LateralTransfer,
        ("smb", false) => Techniques::Shares,
        (_, true) => Techniques::Transfer,
        (_, false) => contact(of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(action: Action, service: &str, inside: bool) -> Vec<&'static str> {
        let of = Circumstances {
            service,
            inside,
            key: false,
            fetches: false,
            upload: false,
        };
        attacks(action, of).list().iter().map(Attack::exact).collect()
    }

    #[test]
    fn outside_contact_is_reconnaissance_and_inside_contact_discovery_or_movement() {
        assert_eq!(ids(Action::Connect, "ssh", false), ["T1595.001"]);
        assert_eq!(ids(Action::Connect, "http", false), ["T1595.002"]);
        assert_eq!(ids(Action::Connect, "ssh", true), ["T1046", "T1021.004"]);
        assert_eq!(ids(Action::Connect, "redis", true), ["T1046"]);
        assert_eq!(ids(Action::UdpProbe, "snmp", false), ["T1595.001"]);
        assert_eq!(ids(Action::Scan, "", true), ["T1046"]);
    }

    #[test]
    fn logins_are_guesses_and_input_is_a_shell() {
        assert_eq!(ids(Action::Credential, "ftp", false), ["T1110.001"]);
        assert_eq!(ids(Action::Credential, "ssh", false), ["T1110.001", "T1133"]);
        assert_eq!(ids(Action::Credential, "ssh", true), ["T1110.001"]);
        assert_eq!(ids(Action::Query, "telnet", true), ["T1059.004"]);
        assert_eq!(ids(Action::Payload, "http", false), ["T1595.002"]);
        assert_eq!(ids(Action::Payload, "ssh", false), ["T1595.001"]);
        assert!(ids(Action::SessionEnd, "ssh", true).is_empty());
    }

    #[test]
    fn a_key_a_download_and_an_upload_say_more() {
        let of = Circumstances {
            service: "ssh",
            inside: false,
            key: true,
            fetches: true,
            upload: true,
        };
        let exact = |action, service| -> Vec<_> {
            attacks(action, Circumstances { service, ..of })
                .list()
                .iter()
                .map(Attack::exact)
                .collect()
        };
        assert_eq!(exact(Action::Credential, "ssh"), ["T1021.004"]);
        assert_eq!(exact(Action::Query, "telnet"), ["T1059.004", "T1105"]);
        assert_eq!(exact(Action::File, "ftp"), ["T1105"]);
        assert_eq!(exact(Action::File, "smb"), ["T1570"]);
    }
}

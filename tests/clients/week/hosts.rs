//! Who is in the office, when each visits the decoys, and as what each is to be known.

/// Where the decoys are.
pub const SENSOR: &str = "10.3.0.9";
/// The office's resolver, which is its domain controller.
pub const RESOLVER: &str = "10.9.0.53";

/// One host of the office.
pub struct Host {
    /// What it is.
    pub who: &'static str,
    /// Where it is.
    pub address: &'static str,
    /// `honeyport.benign.name` of its events, each of these; `-` is an event without a mark, which people are told of.
    pub known_as: &'static [&'static str],
    /// How far it goes, and no further.
    pub touch: &'static str,
    /// Tools that it runs each hour.
    pub hourly: &'static [&'static str],
    /// Tools that it runs at three in the morning.
    pub nightly: &'static [&'static str],
}

/// All of them.
pub const HOSTS: &[Host] = &[
    Host {
        who: "the service checks, declared",
        address: "10.9.0.30",
        known_as: &["checks"],
        touch: "intent",
        hourly: &[
            "check_http",
            "check_https",
            "check_certificate",
            "check_ssh",
            "check_ftp",
            "check_smtp",
            "check_pgsql",
            "check_ntp_time",
            "check_dns",
            "check_tcp",
        ],
        nightly: &[],
    },
    Host {
        who: "a monitor that nobody declared, but says what it is",
        address: "10.3.0.31",
        known_as: &["monitoring", "endpoint_probe"],
        touch: "intent",
        hourly: &["blackbox_http", "blackbox_ssh"],
        nightly: &[],
    },
    Host {
        who: "an inventory of certificates",
        address: "10.3.0.32",
        known_as: &["endpoint_probe"],
        touch: "contact",
        hourly: &[],
        nightly: &["check_certificate"],
    },
    Host {
        who: "the vulnerability scanner, declared",
        address: "10.9.0.20",
        known_as: &["vulnerability_scanner"],
        touch: "proof",
        hourly: &[],
        nightly: &["nmap_versions", "nmap_scripts", "nmap_udp", "hydra_ftp", "curl_login"],
    },
    Host {
        who: "an endpoint security sensor, declared",
        address: "10.9.0.21",
        known_as: &["endpoint_security"],
        touch: "intent",
        hourly: &["nmap_sweep"],
        nightly: &["nmap_versions"],
    },
    Host {
        who: "the domain controller",
        address: RESOLVER,
        known_as: &["domain_controller", "discovery"],
        touch: "intent",
        hourly: &["knock_445", "knock_135", "nbtscan"],
        nightly: &["ldapsearch", "knock_139", "knock_445"],
    },
    Host {
        who: "a desk with a file browser",
        address: "10.3.1.10",
        known_as: &["discovery", "endpoint_probe"],
        touch: "intent",
        hourly: &["nbtscan", "knock_445"],
        nightly: &[],
    },
    Host {
        who: "the print server",
        address: "10.3.0.40",
        known_as: &["printer", "snmp_poller"],
        touch: "proof",
        hourly: &["knock_9100", "knock_631", "snmp_printer"],
        nightly: &["snmp_walk"],
    },
    Host {
        who: "network management",
        address: "10.9.0.50",
        known_as: &["snmp_poller"],
        touch: "proof",
        hourly: &["snmp_uptime", "snmp_bulk"],
        nightly: &["snmp_walk"],
    },
    Host {
        who: "a host that takes the sensor for a time server",
        address: "10.3.1.11",
        known_as: &["time_poller"],
        touch: "intent",
        hourly: &["ntpdate", "check_ntp_time"],
        nightly: &[],
    },
    Host {
        who: "a host that takes the sensor for its resolver",
        address: "10.3.1.12",
        known_as: &["name_client"],
        touch: "intent",
        hourly: &["dig_a", "dig_aaaa", "dig_ptr", "dig_srv"],
        nightly: &[],
    },
    Host {
        who: "the backup server, ignored until its date",
        address: "10.9.0.40",
        known_as: &["ignore.backup"],
        touch: "intent",
        hourly: &[],
        nightly: &["smbclient", "smbclient_login"],
    },
    Host {
        who: "an administrator's inventory, which nobody declared",
        address: "10.3.0.77",
        known_as: &["-", "endpoint_probe"],
        touch: "intent",
        hourly: &[],
        nightly: &["ssh_keyscan", "curl_head", "nmap_sweep"],
    },
];

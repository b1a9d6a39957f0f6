//! `[look]` of a `banner` personality: the texts, and the table of what it knows. Data; nothing here speaks.
//!
//! The table is read from the top, and the first row that suits a line answers it. A row can depend on marks that
//! earlier rows have set, which is how a dialogue has an order. It is compared by words, without patterns: a line costs
//! the same whatever it holds.

use super::imap::{self, Argument};

/// The whole table. Answers may use `{{tag}}`, `{{verb}}`, `{{arg}}`, `{{address}}` (the argument's first word without
/// its angle brackets) and `{{why}}`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Look {
    /// Sent at once; empty: the peer speaks first.
    #[serde(default)]
    pub(super) greeting: String,
    /// The same within TLS; empty: no other.
    #[serde(default)]
    pub(super) greeting_secure: String,
    /// Whether each line begins with a tag, as in IMAP; it may then hold literals.
    #[serde(default)]
    pub(super) tagged: bool,
    /// Whether any blanks part words, as in Postfix; else each blank parts two.
    #[serde(default)]
    pub(super) any_blanks: bool,
    /// To a line that no row is for; empty: nothing.
    #[serde(default)]
    pub(super) unknown: String,
    /// To an empty line; empty: the same as to any other that no row is for.
    #[serde(default)]
    pub(super) empty: String,
    /// To a line that no row is for and that begins with no letter, or is a mail header; it hangs up then.
    #[serde(default)]
    pub(super) bogus: String,
    /// To a line that is no UTF-8.
    #[serde(default)]
    pub(super) not_utf8: String,
    /// To a line whose arguments cannot be read; `{{why}}` says what is wrong.
    #[serde(default)]
    pub(super) malformed: String,
    /// Bounds of what it reads.
    #[serde(default)]
    pub(super) line: LineLook,
    /// What wrong commands lead to.
    #[serde(default)]
    pub(super) bad: BadLook,
    /// How a login goes.
    #[serde(default)]
    pub(super) login: LoginLook,
    /// What it knows.
    #[serde(default)]
    pub(super) answers: Vec<Row>,
}

/// `[look.line]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LineLook {
    /// Longest line, bytes, its end included.
    pub(super) max: usize,
    /// To a longer one, before it resets the connection; empty: the rest of the line is passed over.
    pub(super) too_long: String,
    /// To a literal that is too large, before it hangs up.
    pub(super) too_large: String,
    /// Longest answer to a question of a login, bytes; 0: as a line.
    pub(super) response_max: usize,
    /// To a longer one, whose rest is passed over.
    pub(super) response_too_long: String,
}

impl Default for LineLook {
    fn default() -> Self {
        Self {
            max: 4096,
            too_long: String::new(),
            too_large: String::new(),
            response_max: 0,
            response_too_long: String::new(),
        }
    }
}

/// `[look.bad]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BadLook {
    /// Wrong commands until it hangs up; 0: it never does.
    pub(super) max: u32,
    /// Said before it hangs up for that.
    pub(super) too_many: String,
    /// Whether it is said in place of the last answer.
    pub(super) in_place: bool,
    /// Whether a good command makes up for all before it.
    pub(super) forgiven: bool,
    /// Wrong commands until it answers slowly; 0: it never does.
    pub(super) slow_after: u32,
    /// How slowly.
    pub(super) slow_ms: u64,
}

/// `[look.login]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LoginLook {
    /// Said after a failed one.
    pub(super) failed: String,
    /// How long a failed one takes.
    pub(super) delay_ms: u64,
    /// Whether a failed one is a wrong command.
    pub(super) is_bad: bool,
    /// To `*` in place of an answer.
    pub(super) cancelled: String,
    /// To base64 with a mistake: in the command itself.
    pub(super) not_base64: String,
    /// The same, in an answer to a question.
    pub(super) not_base64_later: String,
}

/// One row of the table.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Row {
    /// First words of the line, in any case; the last may end within a word if it ends in `:`.
    pub(super) on: String,
    /// The tag, in any case; empty: any.
    pub(super) tag: String,
    /// Marks that must be set, or with `!` must not.
    pub(super) when: Vec<String>,
    /// What must follow.
    pub(super) args: Args,
    /// What the rest of the line must hold somewhere.
    pub(super) holds: String,
    /// A number in the rest of the line, and the bound that it must be above.
    pub(super) over: Option<Over>,
    /// What is said.
    pub(super) say: String,
    /// What the words after it are.
    pub(super) takes: Takes,
    /// Marks that it sets, or with `!` takes back.
    pub(super) then: Vec<String>,
    /// Whether it is a wrong command.
    pub(super) bad: bool,
    /// Whether it shows more than a look around.
    pub(super) proof: bool,
    /// Whether it hangs up then.
    pub(super) close: bool,
    /// Whether TLS begins then, which sets the mark `secure`; if something was sent ahead, it hangs up.
    pub(super) tls: bool,
}

/// What must follow the words of a row.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Args {
    /// Anything.
    #[default]
    Any,
    /// Nothing.
    None,
    /// One word.
    One,
    /// Two words.
    Two,
    /// At least two words.
    Many,
    /// A number first.
    Number,
    /// Nothing, NIL or a list.
    List,
}

/// `{ key = "SIZE=", most = 10 }`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Over {
    key: String,
    most: u64,
}

/// How a row takes part in a login.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Takes {
    /// Not at all.
    #[default]
    Nothing,
    /// The user.
    User,
    /// The password.
    Password,
    /// Both: two arguments.
    Both,
    /// SASL PLAIN in base64: here, or asked for by `say`.
    Plain,
    /// SASL LOGIN: user (here, or asked for) and password in base64, asked for as SMTP does.
    Login,
    /// A login that it does not know: it is hidden, and so is what may follow.
    Secret,
    /// As many bytes after the line as the argument says; they are passed over.
    Chunk,
}

impl Takes {
    /// Whether a line with it is a login, or goes on as one.
    pub(super) const fn is_login(self) -> bool {
        matches!(self, Self::Password | Self::Both | Self::Plain | Self::Login)
    }

    /// Whether the words after it are taken as they are, and hold no literal.
    pub(super) fn is_raw(self) -> bool {
        matches!(self, Self::Plain | Self::Login | Self::Secret)
    }
}

impl Row {
    /// What follows the words of this row, if `line` begins with them.
    pub(super) fn rest<'l>(&self, line: &'l [u8], any_blanks: bool) -> Option<&'l [u8]> {
        let mut rest = line;
        for (at, word) in self.on.split(' ').filter(|word| !word.is_empty()).enumerate() {
            if any_blanks {
                rest = trim_start(rest);
            } else if at > 0 {
                rest = rest.strip_prefix(b" ")?;
            }
            let (start, after) = rest.split_at_checked(word.len())?;
            let ends = after.is_empty() || is_blank(after, any_blanks) || word.ends_with(':');
            if !start.eq_ignore_ascii_case(word.as_bytes()) || !ends {
                return None;
            }
            rest = after;
        }
        Some(match any_blanks {
            true => trim_start(rest),
            false => rest.strip_prefix(b" ").unwrap_or(rest),
        })
    }

    /// Whether this row is for a line that its words began, with this rest.
    pub(super) fn suits(&self, line: &Asked<'_>, rest: &[u8]) -> bool {
        (self.tag.is_empty() || line.tag.eq_ignore_ascii_case(self.tag.as_bytes()))
            && self.when.iter().all(|mark| match mark.strip_prefix('!') {
                Some(mark) => !line.marks.contains(&mark),
                None => line.marks.contains(&mark.as_str()),
            })
            && self.args.fit(line.arguments)
            && (self.holds.is_empty() || memchr::memmem::find(rest, self.holds.as_bytes()).is_some())
            && self.over.as_ref().is_none_or(|over| over.is_exceeded(rest))
    }
}

/// A line as the rows are asked about it.
pub(super) struct Asked<'a> {
    pub(super) tag: &'a [u8],
    pub(super) arguments: &'a [Argument],
    pub(super) marks: &'a [&'a str],
}

impl Args {
    fn fit(self, arguments: &[Argument]) -> bool {
        let texts = |count: std::ops::RangeInclusive<usize>| {
            count.contains(&arguments.len()) && !arguments.contains(&Argument::List)
        };
        match self {
            Self::Any => true,
            Self::None => arguments.is_empty(),
            Self::One => texts(1..=1),
            Self::Two => texts(2..=2),
            Self::Many => texts(2..=usize::MAX),
            Self::Number => number(arguments.first()).is_some(),
            Self::List => match arguments.first() {
                None | Some(Argument::List) => true,
                Some(Argument::Text(word)) => word.eq_ignore_ascii_case(b"NIL"),
            },
        }
    }
}

impl Over {
    fn is_exceeded(&self, rest: &[u8]) -> bool {
        let key = memchr::memmem::find(rest, self.key.as_bytes());
        let digits = key.and_then(|at| rest.get(at + self.key.len()..)).unwrap_or_default();
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = str::from_utf8(digits.get(..count).unwrap_or_default()).unwrap_or_default();
        !digits.is_empty() && digits.parse::<u64>().unwrap_or(u64::MAX) > self.most
    }
}

/// The number that an argument is.
pub(super) fn number(argument: Option<&Argument>) -> Option<u64> {
    match argument? {
        Argument::Text(word) => str::from_utf8(word).ok()?.parse().ok(),
        Argument::List => None,
    }
}

/// The arguments of a line: as IMAP writes them, or words.
pub(super) fn arguments(rest: &[u8], tagged: bool) -> Result<Vec<Argument>, &'static str> {
    if tagged {
        return imap::arguments(rest);
    }
    let words = rest.split(|byte| matches!(byte, b' ' | b'\t'));
    let words = words.filter(|word| !word.is_empty());
    Ok(words.map(|word| Argument::Text(word.to_vec())).collect())
}

fn is_blank(rest: &[u8], any_blanks: bool) -> bool {
    rest.starts_with(b" ") || (any_blanks && rest.starts_with(b"\t"))
}

/// A line without the blanks before it.
pub(super) fn trim_start(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    line.get(blanks..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(on: &str) -> Row {
        Row {
            on: on.into(),
            ..Row::default()
        }
    }

    #[test]
    fn a_row_is_found_by_its_words() {
        let (auth, mail) = (row("AUTH PLAIN"), row("MAIL FROM:"));
        assert_eq!(auth.rest(b"auth plain AAA=", false), Some(&b"AAA="[..]));
        assert_eq!(auth.rest(b"AUTH  PLAIN  AAA=", true), Some(&b"AAA="[..]));
        assert_eq!(auth.rest(b" AUTH\tPLAIN", true), Some(&b""[..]));
        assert_eq!(auth.rest(b"AUTH  PLAIN AAA=", false), None);
        assert_eq!(auth.rest(b"AUTH PLAINX", true), None);
        assert_eq!(mail.rest(b"MAIL FROM:<a@b>", true), Some(&b"<a@b>"[..]));
        assert_eq!(row("").rest(b"any thing", false), Some(&b"any thing"[..]));
    }

    #[test]
    fn a_row_suits_by_its_marks_and_arguments() {
        let two = arguments(b"u p", false).expect("words");
        let line = Asked {
            tag: b"a",
            arguments: &two,
            marks: &["mail"],
        };
        let suits = |row: Row| row.suits(&line, b"u p SIZE=11");
        let when = |mark: &str| Row {
            when: vec![mark.into()],
            ..Row::default()
        };
        assert!(suits(when("mail")) && !suits(when("!mail")) && suits(when("!helo")));
        for (args, fits) in [(Args::Two, true), (Args::One, false), (Args::Number, false)] {
            let row = Row { args, ..Row::default() };
            assert_eq!(suits(row), fits, "{args:?}");
        }
        for (most, exceeded) in [(10, true), (11, false)] {
            let over = Over {
                key: "SIZE=".into(),
                most,
            };
            assert_eq!(over.is_exceeded(b"<a@b> SIZE=11"), exceeded);
        }
    }

    proptest! {
        #[test]
        fn any_line_is_compared_without_panic(line in prop::collection::vec(any::<u8>(), 0..200), any_blanks: bool) {
            if let Some(rest) = row("MAIL FROM:").rest(&line, any_blanks) {
                prop_assert!(line.ends_with(rest));
            }
            let over = Over { key: "S".into(), most: 1 };
            let _ = over.is_exceeded(&line);
        }
    }
}

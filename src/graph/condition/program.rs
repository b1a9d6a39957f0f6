//! A condition, compiled and asked.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use cel::common::types::{CelBool, STRING_TYPE};
use cel::parser::{ParseErrors, Parser};
use cel::{Context, Env, ExecutionError, IdedExpr, Value};
use trapline_schemas::{Event, Field};

use super::paths::{Reference, Walk};
use super::values::{Facts, in_cidr};

/// Longest expression, bytes.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Deepest nesting of an expression.
pub const DEPTH_MAX: u16 = 32;
/// Most nodes of an expression's tree, after macros.
pub const NODES_MAX: usize = 1024;
/// Most loops (`exists`, `all`, `map`, …) within each other.
pub const LOOPS_MAX: usize = 2;

/// A mistake in a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionProblem {
    /// Where in the expression, bytes from its start; 0..=its length.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead, if that is known.
    pub hint: Option<String>,
}

/// A compiled condition.
#[derive(Debug)]
pub struct Condition {
    text: String,
    expression: IdedExpr,
    references: Vec<Reference>,
    errors: AtomicU64,
    /// Whether the log was told of an event that lacks a field, and of any other failure.
    told: [AtomicBool; 2],
}

/// Says all that is wrong with a condition, without keeping it.
pub fn check(text: &str) -> Result<(), Vec<ConditionProblem>> {
    Condition::compile(text).map(|_| ())
}

impl Condition {
    /// Compiles an expression.
    ///
    /// Errors: every mistake that can be told without an event: syntax (the parser's words), unknown paths and
    /// functions, types that do not go together, words that a field never says, bounds.
    pub fn compile(text: &str) -> Result<Self, Vec<ConditionProblem>> {
        if text.len() > TEXT_BYTES_MAX {
            let message = format!("condition of {} bytes is longer than {TEXT_BYTES_MAX}", text.len());
            return Err(vec![problem(TEXT_BYTES_MAX, message)]);
        }
        let (mut expression, places) = Parser::new()
            .max_recursion_depth(DEPTH_MAX)
            .parse_with_source_info(text)
            .map_err(|errors| syntax_problems(text, &errors))?;
        let mut walk = Walk::new(text, &places);
        walk.expression(&mut expression);
        let (references, problems) = walk.finish(&expression);
        if problems.is_empty() {
            Ok(Self {
                text: text.to_owned(),
                expression,
                references,
                errors: AtomicU64::new(0),
                told: Default::default(),
            })
        } else {
            Err(problems)
        }
    }

    /// Whether `event` fulfils the condition. An evaluation that ends in an error, or in anything but true, is false;
    /// errors are counted.
    pub fn holds(&self, event: &Event) -> bool {
        let facts = Facts {
            event,
            references: &self.references,
        };
        let mut context = Context::with_env(Arc::clone(&ENV));
        context.set_variable_resolver(&facts);
        let answer = match Value::resolve_val(&self.expression, &context) {
            Ok(value) => value
                .downcast_ref::<CelBool>()
                .map(|answer| *answer.inner())
                .ok_or(false),
            Err(error) => Err(matches!(error, ExecutionError::UndeclaredReference(_))),
        };
        answer.unwrap_or_else(|lacks_field| {
            self.errors.fetch_add(1, Ordering::Relaxed);
            self.tell(lacks_field);
            false
        })
    }

    /// Tells the log of the first failure of each kind: an absent field is ordinary, anything else is a mistake. The
    /// interpreter's words are left out, for they hold values of the event.
    fn tell(&self, lacks_field: bool) {
        let [absent, other] = &self.told;
        if lacks_field && !absent.swap(true, Ordering::Relaxed) {
            tracing::info!(condition = %self.text, "a condition names a field that an event lacks: taken as false");
        } else if !lacks_field && !other.swap(true, Ordering::Relaxed) {
            tracing::warn!(condition = %self.text, "a condition failed with an event: taken as false");
        }
    }

    /// The expression as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many evaluations ended in an error (an absent field, as a rule) since the start.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// The fields that the expression names, in order of appearance.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        self.references.iter().map(|reference| reference.field)
    }
}

/// The standard functions and ours, shared by all conditions.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    env.add_overload(
        "in_cidr",
        "in_cidr_string_string",
        vec![STRING_TYPE, STRING_TYPE],
        in_cidr,
    )
    .expect("the standard library has no function `in_cidr`");
    Arc::new(env)
});

/// A problem without a hint.
pub(super) fn problem(offset: usize, message: String) -> ConditionProblem {
    ConditionProblem {
        offset,
        message,
        hint: None,
    }
}

fn syntax_problems(text: &str, errors: &ParseErrors) -> Vec<ConditionProblem> {
    let errors = &errors.errors;
    if errors.iter().any(|error| error.msg.contains(TOO_DEEP)) {
        // Whatever else the parser says comes of its giving up.
        let message = format!("condition is nested more than {DEPTH_MAX} deep");
        return vec![problem(0, message)];
    }
    let told = errors
        .iter()
        .map(|error| problem(byte_offset(text, error.pos), syntax_message(&error.msg)));
    let mut problems: Vec<_> = told.take(SYNTAX_PROBLEMS_MAX).collect();
    problems.dedup_by_key(|problem| problem.offset);
    problems
}

/// What the parser says of an expression that is deeper than [`DEPTH_MAX`].
const TOO_DEEP: &str = "Recursion limit";
/// Most mistakes of syntax that are told: later ones mostly come of the first.
const SYNTAX_PROBLEMS_MAX: usize = 3;

/// The parser's words in house form; they can list every token there is, so they are cut, and where they are made for
/// programmers they are left out.
fn syntax_message(words: &str) -> String {
    let words = words.strip_prefix("Syntax error: ").unwrap_or(words);
    let words = words.split(" expecting {").next().unwrap_or(words);
    if words.contains(" {") || words.contains("Error(") || words.contains('`') {
        return "this cannot be read as a condition".to_owned();
    }
    let mut message: String = words.chars().take(160).collect();
    if let Some(first) = message.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    message
}

/// The parser counts lines and columns from 1, columns in characters.
fn byte_offset(text: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line.max(1) - 1).unwrap_or(0);
    let column = usize::try_from(column.max(1) - 1).unwrap_or(0);
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    start + char_bytes(rest, column)
}

/// Bytes of the first `chars` characters.
pub(super) fn char_bytes(text: &str, chars: usize) -> usize {
    text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at)
}

//! The walk over an expression: paths become numbered references, mistakes become problems.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, SourceInfo};
use trapline_schemas::{CATALOGUE, Field};

use super::program::{ConditionProblem, LOOPS_MAX, NODES_MAX, char_bytes, problem};
use super::types;

/// Functions and methods that a condition may call; operators besides.
const FUNCTIONS: &[&str] = &[
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "in_cidr",
    "int",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

/// One path of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    /// The field it names.
    pub(super) field: Field,
    /// `has(path)` rather than the path itself.
    pub(super) presence: bool,
}

/// A walk under way.
pub(super) struct Walk<'t> {
    text: &'t str,
    places: &'t SourceInfo,
    references: Vec<Reference>,
    problems: Vec<ConditionProblem>,
    /// Names that enclosing loops bind.
    bound: Vec<String>,
    loops: usize,
    nodes: usize,
}

impl<'t> Walk<'t> {
    pub(super) fn new(text: &'t str, places: &'t SourceInfo) -> Self {
        Self {
            text,
            places,
            references: Vec::new(),
            problems: Vec::new(),
            bound: Vec::new(),
            loops: 0,
            nodes: 0,
        }
    }

    /// What was found; mistakes of types as well, unless there is too much to look at.
    pub(super) fn finish(mut self, expression: &IdedExpr) -> (Vec<Reference>, Vec<ConditionProblem>) {
        if self.nodes <= NODES_MAX {
            for (id, message, hint) in types::mistakes(expression, &self.references) {
                self.report(id, message, hint);
            }
        }
        (self.references, self.problems)
    }

    /// Walks an expression, putting numbered identifiers in the place of paths.
    pub(super) fn expression(&mut self, expression: &mut IdedExpr) {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            if self.nodes == NODES_MAX + 1 {
                self.report(
                    expression.id,
                    format!("condition has more than {NODES_MAX} parts"),
                    None,
                );
            }
            return;
        }
        if let Some((path, presence)) = path_of(&expression.expr) {
            if !self.is_bound(&path) {
                self.path(expression, &path, presence);
            }
            return;
        }
        let id = expression.id;
        match &mut expression.expr {
            Expr::Call(call) => self.call(id, call),
            Expr::Comprehension(looping) => self.comprehension(id, looping),
            Expr::Select(select) => self.expression(&mut select.operand),
            Expr::List(list) => list.elements.iter_mut().for_each(|item| self.expression(item)),
            Expr::Map(map) => map.entries.iter_mut().for_each(|entry| self.entry(&mut entry.expr)),
            Expr::Struct(made) => {
                let message = format!("`{}` is no type that a condition can make", made.type_name);
                self.report(id, message, None);
            }
            Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn entry(&mut self, entry: &mut EntryExpr) {
        match entry {
            EntryExpr::MapEntry(entry) => {
                self.expression(&mut entry.key);
                self.expression(&mut entry.value);
            }
            EntryExpr::StructField(field) => self.expression(&mut field.value),
        }
    }

    fn is_bound(&self, path: &str) -> bool {
        let root = path.split('.').next().unwrap_or(path);
        self.bound.iter().any(|name| name == root)
    }

    fn path(&mut self, expression: &mut IdedExpr, path: &str, presence: bool) {
        match field_of(path) {
            Some(field) => {
                let number = self.number(Reference { field, presence });
                // A selection's place is its dot: the reference begins where the path does.
                expression.id = root_id(expression);
                expression.expr = Expr::Ident(number.to_string());
            }
            None => self.unknown_path(root_id(expression), path),
        }
    }

    fn number(&mut self, reference: Reference) -> usize {
        let known = self.references.iter().position(|known| *known == reference);
        known.unwrap_or_else(|| {
            self.references.push(reference);
            self.references.len() - 1
        })
    }

    fn unknown_path(&mut self, id: u64, path: &str) {
        let group = format!("{path}.");
        let inside = CATALOGUE.iter().find(|row| row.ecs.starts_with(&group));
        let (message, hint) = match inside {
            Some(row) => (
                format!("`{path}` is a group of fields"),
                Some(format!("name one of them, such as `{}`", row.ecs)),
            ),
            None => (
                format!("`{path}` is not a field"),
                nearest(path, CATALOGUE.iter().map(|row| row.ecs)),
            ),
        };
        self.report(id, message, hint);
    }

    fn call(&mut self, id: u64, call: &mut CallExpr) {
        let operator = call.func_name.starts_with(['_', '!', '@', '-']);
        if !operator && !FUNCTIONS.contains(&call.func_name.as_str()) {
            let hint = nearest(&call.func_name, FUNCTIONS.iter().copied());
            self.report(id, format!("`{}` is not a function", call.func_name), hint);
        }
        if let Some(target) = &mut call.target {
            self.expression(target);
        }
        call.args.iter_mut().for_each(|arg| self.expression(arg));
    }

    fn comprehension(&mut self, id: u64, looping: &mut ComprehensionExpr) {
        self.loops += 1;
        if self.loops == LOOPS_MAX + 1 {
            self.report(id, format!("more than {LOOPS_MAX} loops within each other"), None);
        }
        self.expression(&mut looping.iter_range);
        self.expression(&mut looping.accu_init);
        let outer = self.bound.len();
        self.bound.push(looping.iter_var.clone());
        self.bound.extend(looping.iter_var2.clone());
        self.bound.push(looping.accu_var.clone());
        self.expression(&mut looping.loop_cond);
        self.expression(&mut looping.loop_step);
        self.expression(&mut looping.result);
        self.bound.truncate(outer);
        self.loops -= 1;
    }

    fn report(&mut self, id: u64, message: String, hint: Option<String>) {
        let chars = self.places.offset_for(id).map_or(0, |(start, _)| start as usize);
        let mut found = problem(char_bytes(self.text, chars), message);
        found.hint = hint;
        self.problems.push(found);
    }
}

/// The dotted path that an expression spells, and whether it is `has(path)`.
fn path_of(expression: &Expr) -> Option<(String, bool)> {
    let presence = matches!(expression, Expr::Select(select) if select.test);
    let mut segments = Vec::new();
    let mut at = expression;
    loop {
        match at {
            Expr::Ident(name) => {
                segments.push(name.as_str());
                break;
            }
            Expr::Select(select) if !select.test || segments.is_empty() => {
                segments.push(&select.field);
                at = &select.operand.expr;
            }
            _ => return None,
        }
    }
    segments.reverse();
    Some((segments.join("."), presence))
}

/// A selection's place is its dot; the path begins at its root.
fn root_id(expression: &IdedExpr) -> u64 {
    let mut at = expression;
    while let Expr::Select(select) = &at.expr {
        at = &select.operand;
    }
    at.id
}

fn field_of(path: &str) -> Option<Field> {
    match path {
        "timestamp" => Some(Field::Timestamp),
        _ => Field::find(path),
    }
}

/// The closest of `names`, as a hint.
fn nearest<'n>(path: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    names
        .map(|name| (strsim::jaro_winkler(path, name), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.8)
        .map(|(_, name)| format!("did you mean `{name}`?"))
}

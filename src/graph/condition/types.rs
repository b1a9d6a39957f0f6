//! Types: what can be told of an expression without an event, so that a condition which is never true is refused.
//!
//! In: an expression in which [`paths`](super::paths) has numbered the fields. Out: problems. Where a type is not known
//! ([`Type::Unknown`]) nothing is said; what is wrong in itself is unknown to what encloses it, so one mistake is told once.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, ListExpr, LiteralValue, SelectExpr, operators};
use trapline_schemas::{Field, Kind};

use super::paths::Reference;
use super::values::network_of;
use super::words::{Never, never_equal, never_ordered, path};

/// What an expression gives.
#[derive(Debug, Clone, PartialEq)]
enum Type {
    Bool,
    Int,
    UInt,
    Double,
    Text,
    Bytes,
    List(Box<Self>),
    Map,
    Null,
    /// A type itself, as `type(x)` gives it.
    Meta,
    Unknown,
}

use Type::{Bool, Bytes, Double, Int, List, Map, Meta, Null, Text, UInt, Unknown};

/// A mistake: id of the expression, what is wrong, what to write instead.
pub(super) type Mistake = (u64, String, Option<String>);

/// Every mistake of types in a condition.
pub(super) fn mistakes(condition: &IdedExpr, references: &[Reference]) -> Vec<Mistake> {
    let mut types = Types {
        references,
        bound: Vec::new(),
        mistakes: Vec::new(),
    };
    types.expect_bool(condition, "a condition");
    types.mistakes
}

struct Types<'r> {
    references: &'r [Reference],
    /// Names that enclosing loops bind, and what they hold.
    bound: Vec<(String, Type)>,
    mistakes: Vec<Mistake>,
}

impl Types<'_> {
    fn of(&mut self, expression: &IdedExpr) -> Type {
        match &expression.expr {
            Expr::Literal(literal) => of_literal(literal),
            Expr::Ident(name) => self.of_name(name),
            Expr::Select(select) => self.of_select(expression.id, select),
            Expr::List(list) => self.of_list(list),
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.of(&entry.key);
                        self.of(&entry.value);
                    }
                }
                Map
            }
            Expr::Call(call) => self.of_call(expression.id, call),
            Expr::Comprehension(looping) => self.of_loop(expression.id, looping),
            Expr::Struct(_) | Expr::Unspecified => Unknown,
        }
    }

    fn of_name(&self, name: &str) -> Type {
        if let Some((_, kind)) = self.bound.iter().rev().find(|(bound, _)| bound == name) {
            return kind.clone();
        }
        match self.reference(name) {
            Some(reference) if reference.presence => Bool,
            Some(reference) => of_field(reference.field),
            None => Unknown,
        }
    }

    fn reference(&self, name: &str) -> Option<&Reference> {
        self.references.get(name.parse::<usize>().ok()?)
    }

    /// The field that an expression is.
    fn field(&self, expression: &IdedExpr) -> Option<Field> {
        let Expr::Ident(name) = &expression.expr else {
            return None;
        };
        let reference = self.reference(name).filter(|reference| !reference.presence);
        reference.map(|reference| reference.field)
    }

    fn of_select(&mut self, id: u64, select: &SelectExpr) -> Type {
        match self.of(&select.operand) {
            Unknown | Map if select.test => Bool,
            Unknown | Map => Unknown,
            other => self.wrong(id, format!("{} has no part `{}`", words(&other), select.field)),
        }
    }

    fn of_list(&mut self, list: &ListExpr) -> Type {
        let mut types = list.elements.iter().map(|element| self.of(element)).collect::<Vec<_>>();
        let first = types.pop().unwrap_or(Unknown);
        let same = types.iter().all(|other| *other == first);
        List(Box::new(if same { first } else { Unknown }))
    }

    fn of_call(&mut self, id: u64, call: &CallExpr) -> Type {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, args) => self.all_bool(args, "`&&`"),
            (operators::LOGICAL_OR, args) => self.all_bool(args, "`||`"),
            (operators::LOGICAL_NOT, args) => self.all_bool(args, "`!`"),
            (operators::CONDITIONAL, [asked, yes, no]) => {
                self.expect_bool(asked, "what stands before `?`");
                self.either(id, yes, no)
            }
            (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => self.equality(id, left, right),
            (
                operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS,
                [left, right],
            ) => self.order(id, left, right),
            (operators::IN, [left, right]) => self.membership(id, left, right),
            (operators::INDEX, [list, index]) => self.index(id, list, index),
            (operators::NEGATE, [number]) => match self.of(number) {
                kind @ (Int | Double | Unknown) => kind,
                other => self.wrong(id, format!("`-` takes a number, not {}", words(&other))),
            },
            (name, [left, right]) if ARITHMETIC.iter().any(|(operator, _)| *operator == name) => {
                self.arithmetic(id, name, left, right)
            }
            _ => self.function(id, call),
        }
    }

    fn all_bool(&mut self, operands: &[IdedExpr], whose: &str) -> Type {
        for operand in operands {
            self.expect_bool(operand, &format!("each side of {whose}"));
        }
        Bool
    }

    /// Anything but true or false here is an error with every event.
    fn expect_bool(&mut self, expression: &IdedExpr, what: &str) {
        let kind = self.of(expression);
        if matches!(kind, Bool | Unknown) {
            return;
        }
        let field = self.field(expression).map(path);
        let hint = field.map(|path| format!("compare it, or ask `has({path})`"));
        let message = format!("{what} is true or false, not {}", words(&kind));
        self.mistakes.push((expression.id, message, hint));
    }

    fn either(&mut self, id: u64, yes: &IdedExpr, no: &IdedExpr) -> Type {
        match (self.of(yes), self.of(no)) {
            (yes, no) if yes == no => yes,
            (Unknown, _) | (_, Unknown) => Unknown,
            (yes, no) => {
                let message = format!("`?` gives {} or {}: both are of one kind", words(&yes), words(&no));
                self.wrong(id, message)
            }
        }
    }

    fn equality(&mut self, id: u64, left: &IdedExpr, right: &IdedExpr) -> Type {
        self.compared(id, left, right);
        self.literals(left, right, never_equal);
        Bool
    }

    fn order(&mut self, id: u64, left: &IdedExpr, right: &IdedExpr) -> Type {
        if let Some(kind @ (List(_) | Map | Null | Meta)) = self.compared(id, left, right) {
            self.wrong(id, format!("{} has no order", words(&kind)));
        }
        self.literals(left, right, never_ordered);
        Bool
    }

    /// The type of both sides, if they have one that compares.
    fn compared(&mut self, id: u64, left: &IdedExpr, right: &IdedExpr) -> Option<Type> {
        let (mut one, mut other) = (self.of(left), self.of(right));
        if comparable(&one, &other) {
            return Some(one);
        }
        let mut field = self.field(left);
        if field.is_none() && self.field(right).is_some() {
            field = self.field(right);
            std::mem::swap(&mut one, &mut other);
        }
        let message = match field {
            Some(field) => format!(
                "`{}` is {} and never compares with {}",
                path(field),
                named(field),
                words(&other)
            ),
            None => format!("{} never compares with {}", words(&one), words(&other)),
        };
        self.wrong(id, message);
        None
    }

    /// A field beside a literal that it never holds.
    fn literals(&mut self, left: &IdedExpr, right: &IdedExpr, never: fn(Field, &str) -> Option<Never>) {
        for (side, literal) in [(left, right), (right, left)] {
            if let (Some(field), Some(text)) = (self.field(side), text_of(literal))
                && of_field(field) == Text
            {
                self.never(literal, never(field, text));
            }
        }
    }

    fn never(&mut self, literal: &IdedExpr, never: Option<Never>) {
        if let Some(never) = never {
            self.mistakes.push((literal.id, never.message, never.hint));
        }
    }

    fn membership(&mut self, id: u64, item: &IdedExpr, list: &IdedExpr) -> Type {
        let kind = self.of(item);
        match self.of(list) {
            List(element) if !comparable(&kind, &element) => {
                self.wrong(
                    id,
                    format!("{} is never in a list of {}", words(&kind), plural(&element)),
                );
            }
            List(_) | Map | Unknown => {}
            other => {
                self.wrong(id, format!("`in` asks a list, not {}", words(&other)));
            }
        }
        if let (Some(field), Expr::List(list)) = (self.field(item), &list.expr) {
            for literal in &list.elements {
                self.never(literal, text_of(literal).and_then(|text| never_equal(field, text)));
            }
        }
        if let (Some(text), Some(field)) = (text_of(item), self.field(list)) {
            self.never(item, never_equal(field, text));
        }
        Bool
    }

    fn index(&mut self, id: u64, list: &IdedExpr, index: &IdedExpr) -> Type {
        match (self.of(list), self.of(index)) {
            (List(element), Int | UInt | Unknown) => *element,
            (Map | Unknown, _) => Unknown,
            (list, index) => self.wrong(id, format!("{} has no part number {}", words(&list), words(&index))),
        }
    }

    fn arithmetic(&mut self, id: u64, operator: &str, left: &IdedExpr, right: &IdedExpr) -> Type {
        let (one, other) = (self.of(left), self.of(right));
        let divides = matches!(operator, operators::DIVIDE | operators::MODULO);
        if divides && matches!(&right.expr, Expr::Literal(literal) if is_zero(literal)) {
            return self.wrong(id, "division by zero".to_owned());
        }
        let takes = ARITHMETIC
            .iter()
            .find(|(name, _)| *name == operator)
            .map(|(_, takes)| *takes);
        match (&one, &other) {
            (Unknown, _) | (_, Unknown) => Unknown,
            (List(_), List(_)) if operator == operators::ADD => one,
            _ if one == other && takes.is_some_and(|takes| takes.contains(&one)) => one,
            _ => {
                let sign = operator.trim_matches('_');
                let hint = (is_number(&one) && is_number(&other)).then(|| "`double(…)` makes a fraction".to_owned());
                let message = format!("`{sign}` does not go with {} and {}", words(&one), words(&other));
                self.mistakes.push((id, message, hint));
                Unknown
            }
        }
    }

    fn of_loop(&mut self, id: u64, looping: &ComprehensionExpr) -> Type {
        let element = match self.of(&looping.iter_range) {
            List(element) => *element,
            Map | Unknown => Unknown,
            other => self.wrong(id, format!("a loop goes over a list, not {}", words(&other))),
        };
        let start = self.of(&looping.accu_init);
        let outer = self.bound.len();
        let (first, second) = match &looping.iter_var2 {
            None => (element, None),
            Some(name) => (Unknown, Some((name.clone(), Unknown))),
        };
        self.bound.push((looping.iter_var.clone(), first));
        self.bound.extend(second);
        self.bound.push((looping.accu_var.clone(), start));
        self.of(&looping.loop_cond);
        let step = self.of(&looping.loop_step);
        if let Some((_, accumulated)) = self.bound.last_mut() {
            *accumulated = step;
        }
        let result = self.of(&looping.result);
        self.bound.truncate(outer);
        result
    }

    /// A function or method, its arguments checked; names that are none are told elsewhere.
    fn function(&mut self, id: u64, call: &CallExpr) -> Type {
        let operands: Vec<_> = call.target.as_deref().into_iter().chain(&call.args).collect();
        let types: Vec<_> = operands.iter().map(|operand| self.of(operand)).collect();
        let Some(row) = FUNCTIONS.iter().find(|row| row.name == call.func_name) else {
            return Unknown;
        };
        let form = match (call.target.is_some(), row.form) {
            (true, Form::Plain) | (false, Form::Method) => false,
            _ => types.len() == row.takes.len(),
        };
        if !form {
            return self.wrong(id, format!("`{}` is written {}", row.name, row.usage));
        }
        for (kind, takes) in types.iter().zip(row.takes) {
            let fits = takes.is_empty() || matches!(kind, Unknown) || takes.contains(&bare(kind));
            if !fits {
                return self.wrong(
                    id,
                    format!("`{}` does not take {}: {}", row.name, words(kind), row.usage),
                );
            }
        }
        if let ("in_cidr", [address, network]) = (row.name, operands.as_slice()) {
            self.in_cidr(address, network);
        }
        row.gives.clone()
    }

    fn in_cidr(&mut self, address: &IdedExpr, network: &IdedExpr) {
        let hint = || Some("`in_cidr(source.ip, \"10.0.0.0/8\")`".to_owned());
        if let Some(field) = self.field(network) {
            let message = format!("`{}` is not a network", path(field));
            self.mistakes.push((network.id, message, hint()));
        }
        let no_address = match (self.field(address), text_of(address)) {
            (Some(field), _) if matches!(field.row().kind, Kind::Date | Kind::Id) => Some(path(field)),
            (_, Some(text)) if text.parse::<std::net::IpAddr>().is_err() => Some(text),
            _ => None,
        };
        if let Some(text) = no_address {
            let message = format!("`{}` is not an address", trapline_sink::config::shown(text));
            self.mistakes.push((address.id, message, hint()));
        }
        if let Some(text) = text_of(network).filter(|text| network_of(text).is_none()) {
            let message = format!("`{}` is not a network", trapline_sink::config::shown(text));
            self.mistakes
                .push((network.id, message, Some("such as `10.0.0.0/8`".to_owned())));
        }
    }

    fn wrong(&mut self, id: u64, message: String) -> Type {
        self.mistakes.push((id, message, None));
        Unknown
    }
}

/// The operators of arithmetic and what both their sides may be; lists are added as well.
const ARITHMETIC: &[(&str, &[Type])] = &[
    (operators::ADD, &[Int, UInt, Double, Text, Bytes]),
    (operators::SUBSTRACT, &[Int, UInt, Double]),
    (operators::MULTIPLY, &[Int, UInt, Double]),
    (operators::DIVIDE, &[Int, UInt, Double]),
    (operators::MODULO, &[Int, UInt]),
];

/// How a function is written.
#[derive(Clone, Copy)]
enum Form {
    Plain,
    Method,
    Both,
}

/// A function that a condition may call.
struct Function {
    name: &'static str,
    form: Form,
    /// What each argument may be, the target of a method first; none: anything.
    takes: &'static [&'static [Type]],
    gives: Type,
    usage: &'static str,
}

const fn row(
    name: &'static str,
    form: Form,
    takes: &'static [&'static [Type]],
    gives: Type,
    usage: &'static str,
) -> Function {
    Function {
        name,
        form,
        takes,
        gives,
        usage,
    }
}

const TEXTS: &[&[Type]] = &[&[Text], &[Text]];
const NUMBER: &[&[Type]] = &[&[Int, UInt, Double, Text]];

static FUNCTIONS: &[Function] = &[
    row("bool", Form::Plain, &[&[Bool, Text]], Bool, "`bool(text)`"),
    row("bytes", Form::Plain, &[&[Text, Bytes]], Bytes, "`bytes(text)`"),
    row("contains", Form::Method, TEXTS, Bool, "`text.contains(text)`"),
    row("double", Form::Plain, NUMBER, Double, "`double(number)`"),
    row("dyn", Form::Plain, &[&[]], Unknown, "`dyn(value)`"),
    row("endsWith", Form::Method, TEXTS, Bool, "`text.endsWith(text)`"),
    row(
        "in_cidr",
        Form::Plain,
        TEXTS,
        Bool,
        "`in_cidr(address, network)`: it takes an address and a network",
    ),
    row("int", Form::Plain, NUMBER, Int, "`int(number)`"),
    row("size", Form::Both, SIZED, Int, "`size(text or list)`"),
    row("startsWith", Form::Method, TEXTS, Bool, "`text.startsWith(text)`"),
    row(
        "string",
        Form::Plain,
        &[&[Bool, Int, UInt, Double, Text, Bytes]],
        Text,
        "`string(value)`",
    ),
    row("type", Form::Plain, &[&[]], Meta, "`type(value)`"),
    row("uint", Form::Plain, NUMBER, UInt, "`uint(number)`"),
];

/// A list stands here for its marker, see [`bare`].
const SIZED: &[&[Type]] = &[&[Text, Bytes, Map]];

/// The type for a table of functions: a list counts as a map, both have a size.
fn bare(kind: &Type) -> Type {
    match kind {
        List(_) => Map,
        other => other.clone(),
    }
}

fn of_literal(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::String(_) => Text,
        LiteralValue::Int(_) => Int,
        LiteralValue::UInt(_) => UInt,
        LiteralValue::Double(_) => Double,
        LiteralValue::Boolean(_) => Bool,
        LiteralValue::Bytes(_) => Bytes,
        LiteralValue::Null => Null,
    }
}

/// A field's value as the interpreter has it.
fn of_field(field: Field) -> Type {
    match field.row().kind {
        Kind::Keyword | Kind::Text | Kind::Ip | Kind::Id | Kind::Date => Text,
        Kind::Long => Int,
        Kind::Float => Double,
        Kind::Bool => Bool,
        Kind::Bytes => Bytes,
        Kind::Keywords | Kind::Ips => List(Box::new(Text)),
        Kind::Longs => List(Box::new(Int)),
    }
}

fn text_of(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

fn is_zero(literal: &LiteralValue) -> bool {
    match literal {
        LiteralValue::Int(number) => *number.inner() == 0,
        LiteralValue::UInt(number) => *number.inner() == 0,
        _ => false,
    }
}

const fn is_number(kind: &Type) -> bool {
    matches!(kind, Int | UInt | Double)
}

/// Numbers of every kind compare; anything else with its like.
fn comparable(one: &Type, other: &Type) -> bool {
    match (one, other) {
        (Unknown, _) | (_, Unknown) => true,
        (List(one), List(other)) => comparable(one, other),
        _ => one == other || (is_number(one) && is_number(other)),
    }
}

/// A field's type in a message: dates are texts that are written in one way.
fn named(field: Field) -> &'static str {
    match field.row().kind {
        Kind::Date => "a date, written as text",
        _ => words(&of_field(field)),
    }
}

const fn words(kind: &Type) -> &'static str {
    match kind {
        Bool => "true or false",
        Int | UInt => "a number",
        Double => "a fraction",
        Text => "a text",
        Bytes => "bytes",
        List(_) => "a list",
        Map => "a map",
        Null => "null",
        Meta => "a type",
        Unknown => "anything",
    }
}

const fn plural(kind: &Type) -> &'static str {
    match kind {
        Text => "texts",
        Int | UInt | Double => "numbers",
        Bool => "true and false",
        List(_) => "lists",
        _ => "others",
    }
}

//! Reads the syntax tree of an expression: how deep it is, what it calls, and which paths it reads.

use std::ops::Range;

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue};

use super::places::Places;

/// Levels that an expression may be nested; evaluation recurses.
const MAX_DEPTH: usize = 48;

/// The functions of CEL's standard library; its macros are gone once an expression is parsed.
pub(super) const FUNCTIONS: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "int",
    "string",
    "timestamp",
    "type",
    "uint",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
];

/// The names of types: `type(x) == int` reads no variable `int`.
const TYPES: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

/// Says whether an expression asks for a field: `has(a.b)`.
pub(super) fn is_test(expression: &IdedExpr) -> bool {
    matches!(&expression.expr, Expr::Select(select) if select.test)
}

/// Says whether a path is the name of a type and no variable.
pub(super) fn is_type_name(segments: &[&str]) -> bool {
    segments.len() == 1 && TYPES.contains(&segments[0])
}

/// A path that an expression reads: `stages.executor.status` is `["stages", "executor", "status"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The names, the variable first.
    pub segments: Vec<String>,
    /// Bytes of the expression that name the variable and what follows.
    pub span: Range<usize>,
}

impl Path {
    /// Gives the path with dots.
    #[must_use]
    pub fn text(&self) -> String {
        self.segments.join(".")
    }
}

/// Says whether an expression can be evaluated without exhausting the stack.
pub(super) fn is_shallow(expression: &IdedExpr) -> bool {
    is_within(expression, MAX_DEPTH)
}

fn is_within(expression: &IdedExpr, left: usize) -> bool {
    left > 0 && all_children(expression, &mut |child| is_within(child, left - 1))
}

/// Visits the parts of an expression in their order as long as `holds`; says whether it always did.
fn all_children<'e>(expression: &'e IdedExpr, holds: &mut dyn FnMut(&'e IdedExpr) -> bool) -> bool {
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => true,
        Expr::Call(call) => {
            call.target.as_deref().is_none_or(&mut *holds) && call.args.iter().all(holds)
        }
        Expr::Comprehension(over) => {
            holds(&over.iter_range)
                && holds(&over.accu_init)
                && holds(&over.loop_cond)
                && holds(&over.loop_step)
                && holds(&over.result)
        }
        Expr::List(list) => list.elements.iter().all(holds),
        Expr::Map(map) => map
            .entries
            .iter()
            .all(|entry| all_parts(&entry.expr, holds)),
        Expr::Struct(value) => value
            .entries
            .iter()
            .all(|entry| all_parts(&entry.expr, holds)),
        Expr::Select(select) => holds(&select.operand),
    }
}

fn all_parts<'e>(entry: &'e EntryExpr, holds: &mut dyn FnMut(&'e IdedExpr) -> bool) -> bool {
    match entry {
        EntryExpr::StructField(field) => holds(&field.value),
        EntryExpr::MapEntry(entry) => holds(&entry.key) && holds(&entry.value),
    }
}

/// Says how often a text stands in an expression before a literal that it is: the parser numbers what it reads in its order.
pub(super) fn times_before(root: &IdedExpr, literal: &IdedExpr, text: &str) -> usize {
    let of_this = matches!(&root.expr, Expr::Literal(LiteralValue::String(found)) if found.inner() == text)
        && root.id < literal.id;
    let mut times = usize::from(of_this);
    all_children(root, &mut |child| {
        times += times_before(child, literal, text);
        true
    });
    times
}

/// Gives a function that CEL does not have. The names of operators have other characters than letters.
pub(super) fn unknown_function(expression: &IdedExpr) -> Option<&str> {
    let of_this = match &expression.expr {
        Expr::Call(call) => Some(call.func_name.as_str()),
        Expr::Unspecified
        | Expr::Ident(_)
        | Expr::Literal(_)
        | Expr::Comprehension(_)
        | Expr::List(_)
        | Expr::Map(_)
        | Expr::Struct(_)
        | Expr::Select(_) => None,
    };
    let is_word = |name: &&str| name.chars().all(|c| c.is_alphanumeric() || c == '_');
    of_this
        .filter(is_word)
        .filter(|name| !FUNCTIONS.contains(name))
        .or_else(|| {
            let mut found = None;
            all_children(expression, &mut |child| {
                found = unknown_function(child);
                found.is_none()
            });
            found
        })
}

/// Gives the paths that an expression reads, sorted, each once.
pub(super) fn paths(root: &IdedExpr, places: &Places<'_>) -> Vec<Path> {
    let mut paths = Vec::new();
    let mut reader = PathReader {
        places,
        bound: Vec::new(),
        paths: &mut paths,
    };
    reader.read(root);
    paths.sort_by(|a, b| (&a.segments, a.span.start).cmp(&(&b.segments, b.span.start)));
    paths.dedup_by(|a, b| a.segments == b.segments);
    paths
}

/// Says whether every path of an expression is spelled with dots alone, and none stands in `has`.
pub(super) fn spells_names(expression: &IdedExpr) -> bool {
    match &expression.expr {
        Expr::Select(_) => has_only_dots(expression),
        Expr::Call(call) if call.func_name == cel::common::ast::operators::INDEX => false,
        Expr::Call(_)
        | Expr::Unspecified
        | Expr::Ident(_)
        | Expr::Literal(_)
        | Expr::Comprehension(_)
        | Expr::List(_)
        | Expr::Map(_)
        | Expr::Struct(_) => all_children(expression, &mut spells_names),
    }
}

fn has_only_dots(expression: &IdedExpr) -> bool {
    match &expression.expr {
        Expr::Ident(_) => true,
        Expr::Select(select) => !select.test && has_only_dots(&select.operand),
        Expr::Unspecified
        | Expr::Call(_)
        | Expr::Literal(_)
        | Expr::Comprehension(_)
        | Expr::List(_)
        | Expr::Map(_)
        | Expr::Struct(_) => false,
    }
}

/// Collects the paths that an expression reads, without the variables that its own macros bind.
struct PathReader<'a> {
    places: &'a Places<'a>,
    bound: Vec<&'a str>,
    paths: &'a mut Vec<Path>,
}

impl<'a> PathReader<'a> {
    fn read(&mut self, expression: &'a IdedExpr) {
        if let Some(segments) = segments(expression) {
            if !is_type_name(&segments)
                && !self.bound.contains(&segments[0])
                && !segments[0].starts_with('@')
            {
                let span = self.places.path(&segments);
                self.paths.push(Path {
                    segments: segments.into_iter().map(str::to_owned).collect(),
                    span,
                });
            }
            return;
        }
        if let Expr::Comprehension(over) = &expression.expr {
            self.read(&over.iter_range);
            self.read(&over.accu_init);
            let outside = self.bound.len();
            self.bound.push(&over.iter_var);
            self.bound.extend(over.iter_var2.as_deref());
            self.bound.push(&over.accu_var);
            self.read(&over.loop_cond);
            self.read(&over.loop_step);
            self.read(&over.result);
            self.bound.truncate(outside);
            return;
        }
        all_children(expression, &mut |child| {
            self.read(child);
            true
        });
    }
}

/// Gives the path that an expression spells: identifiers, fields, and string literals in brackets.
pub(super) fn segments(expression: &IdedExpr) -> Option<Vec<&str>> {
    match &expression.expr {
        Expr::Ident(name) => Some(vec![name]),
        Expr::Select(select) => {
            let mut path = segments(&select.operand)?;
            path.push(&select.field);
            Some(path)
        }
        Expr::Call(call) if call.func_name == cel::common::ast::operators::INDEX => {
            let [operand, key] = call.args.as_slice() else {
                return None;
            };
            let Expr::Literal(LiteralValue::String(key)) = &key.expr else {
                return None;
            };
            let mut path = segments(operand)?;
            path.push(key.inner());
            Some(path)
        }
        Expr::Call(_)
        | Expr::Unspecified
        | Expr::Comprehension(_)
        | Expr::List(_)
        | Expr::Literal(_)
        | Expr::Map(_)
        | Expr::Struct(_) => None,
    }
}

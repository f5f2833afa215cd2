//! Evaluates conditions for every combination of the values that they can read, where these are few.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use cel::IdedExpr;
use cel::common::ast::operators as op;
use cel::common::ast::{Expr, LiteralValue};
use serde_json::Value;

use super::condition::{Condition, Found};
use super::syntax::{is_test, is_type_name, segments};

/// Combinations that are tried.
const MOST: usize = 1_024;

/// The values that a path can have, `None` for its absence.
pub(super) type Values = Vec<Option<Value>>;

/// What conditions give for one combination of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    Bool(bool),
    /// It cannot be evaluated with these values.
    Error,
    /// It depends on a value of which nothing is known.
    Unknown,
}

/// Tries conditions together. `values` gives the values that a path of one of them can have, `None` where there are too many. Gives
/// false where not every combination was tried, because there are too many or because `visit` broke off.
pub(super) fn each_combination(
    conditions: &[&Condition],
    values: &dyn Fn(usize, &[String]) -> Option<Values>,
    visit: &mut dyn FnMut(&[Given]) -> ControlFlow<()>,
) -> bool {
    let mut known: BTreeMap<&[String], Values> = BTreeMap::new();
    let mut unknown: BTreeSet<&[String]> = BTreeSet::new();
    let mut count = 1_usize;
    for (number, condition) in conditions.iter().enumerate() {
        for path in condition.paths() {
            let path = path.segments.as_slice();
            if known.contains_key(path) || unknown.contains(path) {
                continue;
            }
            match values(number, path) {
                Some(values) => {
                    count = count.saturating_mul(values.len());
                    known.insert(path, values);
                }
                None => {
                    unknown.insert(path);
                }
            }
        }
    }
    let all: BTreeSet<&[String]> = known.keys().chain(&unknown).copied().collect();
    if count == 0 || count > MOST || overlap(&all) {
        return false;
    }
    let mut given = Vec::with_capacity(conditions.len());
    (0..count).all(|number| {
        let chosen = chosen(&known, number);
        given.clear();
        given.extend(
            conditions
                .iter()
                .map(|condition| evaluate(condition, &chosen)),
        );
        visit(&given).is_continue()
    })
}

/// Of a path and its beginning each says something about the other: their values cannot be chosen apart.
fn overlap(paths: &BTreeSet<&[String]>) -> bool {
    // In their order a path stands directly before those that it begins.
    let next = paths.iter().skip(1);
    paths
        .iter()
        .zip(next)
        .any(|(path, next)| next.starts_with(path))
}

type Chosen<'a> = BTreeMap<&'a [String], Option<&'a Value>>;

/// Chooses a value for each path: the digits of a number whose places count differently far.
fn chosen<'a>(known: &'a BTreeMap<&'a [String], Values>, mut number: usize) -> Chosen<'a> {
    let mut chosen = BTreeMap::new();
    for (path, values) in known {
        chosen.insert(*path, values[number % values.len()].as_ref());
        number /= values.len();
    }
    chosen
}

fn evaluate(condition: &Condition, chosen: &Chosen<'_>) -> Given {
    let is_known = |path: &[String]| chosen.contains_key(path);
    let decision = condition.evaluate(|_, path| match chosen.get(path) {
        Some(Some(value)) => Found {
            depth: path.len(),
            value: Cow::Borrowed(*value),
        },
        Some(None) => Found {
            depth: path.len() - 1,
            value: Cow::Owned(Value::Object(serde_json::Map::new())),
        },
        // What is not known is not there: where the result does not depend on it, there is one all the same.
        None => Found {
            depth: 0,
            value: Cow::Owned(Value::Null),
        },
    });
    match decision {
        Ok(decision) => Given::Bool(decision.holds),
        Err(_)
            if condition
                .paths()
                .iter()
                .all(|path| is_known(&path.segments)) =>
        {
            Given::Error
        }
        Err(_) => Given::Unknown,
    }
}

/// Says what a condition gives whatever it reads; `None` where that depends, or cannot be found out. With some values it may fail
/// besides.
pub(super) fn constant(
    condition: &Condition,
    values: &dyn Fn(&[String]) -> Option<Values>,
) -> Option<Given> {
    if plainly_varies(condition, values) {
        return None;
    }
    tried(condition, values)
}

/// Says whether a condition is not constant, where that can be seen without trying.
pub(super) fn plainly_varies(
    condition: &Condition,
    values: &dyn Fn(&[String]) -> Option<Values>,
) -> bool {
    varies(condition.root(), &mut BTreeSet::new(), values)
}

/// Finds by trying what a condition gives whatever it reads.
pub(super) fn tried(
    condition: &Condition,
    values: &dyn Fn(&[String]) -> Option<Values>,
) -> Option<Given> {
    let mut constant = Given::Error;
    let tried = each_combination(&[condition], &|_, path| values(path), &mut |given| match (
        given[0], constant,
    ) {
        (Given::Error, _) => ControlFlow::Continue(()),
        (Given::Bool(holds), Given::Error) => {
            constant = Given::Bool(holds);
            ControlFlow::Continue(())
        }
        (Given::Bool(holds), Given::Bool(before)) if holds == before => ControlFlow::Continue(()),
        (Given::Bool(_) | Given::Unknown, _) => ControlFlow::Break(()),
    });
    tried.then_some(constant)
}

/// Says whether a condition is plainly not constant, without trying: `&&`, `||` and `!` join what can go either way, with each path
/// read once, or what depends on a value of which nothing is known. Nearly all conditions are like that.
fn varies<'e>(
    expression: &'e IdedExpr,
    read: &mut BTreeSet<Vec<&'e str>>,
    values: &dyn Fn(&[String]) -> Option<Values>,
) -> bool {
    let mut can_be = |path: Vec<&'e str>, wanted: &Value, other: &dyn Fn(&Value) -> bool| {
        let owned: Vec<String> = path.iter().map(|&name| name.to_owned()).collect();
        let is_new = read.insert(path);
        let found = values(&owned).filter(|_| is_new).unwrap_or_default();
        let mut found = found.iter().flatten();
        found.clone().any(|value| value == wanted) && found.any(other)
    };
    let call = match (&expression.expr, segments(expression)) {
        (Expr::Select(select), _) if select.test => return false,
        (_, Some(path)) if !is_type_name(&path) && is_open(&path, values) => return true,
        (_, Some(path)) => {
            return can_be(path, &Value::Bool(true), &|other| {
                *other == Value::Bool(false)
            });
        }
        (Expr::Call(call), None) => call,
        _ => return needs_open(expression, values),
    };
    match (call.func_name.as_str(), call.args.as_slice()) {
        (op::LOGICAL_AND | op::LOGICAL_OR, [a, b]) => {
            varies(a, read, values) && varies(b, read, values)
        }
        (op::LOGICAL_NOT, [a]) => varies(a, read, values),
        _ if needs_open(expression, values) => true,
        (op::EQUALS | op::NOT_EQUALS, [a, b]) => match (segments(a), &b.expr) {
            (Some(path), Expr::Literal(literal)) if !is_test(a) => {
                let wanted = match literal {
                    LiteralValue::String(text) => Value::from(text.inner()),
                    LiteralValue::Boolean(truth) => Value::from(*truth.inner()),
                    LiteralValue::Bytes(_)
                    | LiteralValue::Double(_)
                    | LiteralValue::Int(_)
                    | LiteralValue::Null
                    | LiteralValue::UInt(_) => return false,
                };
                can_be(path, &wanted, &|other| *other != wanted)
            }
            _ => false,
        },
        _ => false,
    }
}

/// Says whether nothing is known of the values at a path.
fn is_open(path: &[&str], values: &dyn Fn(&[String]) -> Option<Values>) -> bool {
    let path: Vec<String> = path.iter().map(|&name| name.to_owned()).collect();
    values(&path).is_none()
}

/// Says whether an expression cannot be evaluated without a value of which nothing is known. What is bound inside of it is not
/// looked at: only what is always evaluated counts.
fn needs_open(expression: &IdedExpr, values: &dyn Fn(&[String]) -> Option<Values>) -> bool {
    if is_test(expression) {
        return false;
    }
    if let Some(path) = segments(expression) {
        return !is_type_name(&path) && is_open(&path, values);
    }
    match &expression.expr {
        Expr::Call(call) => {
            let lazy = [op::LOGICAL_AND, op::LOGICAL_OR, op::CONDITIONAL];
            let mut parts = call.target.iter().map(AsRef::as_ref).chain(&call.args);
            !lazy.contains(&call.func_name.as_str())
                && !call.func_name.starts_with('@')
                && parts.any(|part| needs_open(part, values))
        }
        Expr::Comprehension(over) => needs_open(&over.iter_range, values),
        Expr::Select(select) => needs_open(&select.operand, values),
        Expr::Unspecified
        | Expr::Ident(_)
        | Expr::List(_)
        | Expr::Literal(_)
        | Expr::Map(_)
        | Expr::Struct(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `a`, `b` are bools; `color` one of three; `maybe` a bool that may be absent; of `n` nothing is known.
    fn values(path: &[String]) -> Option<Values> {
        let some = |list: Value| {
            list.as_array()
                .cloned()
                .map(|l| l.into_iter().map(Some).collect::<Values>())
        };
        match path[1].as_str() {
            "a" | "b" => some(json!([true, false])),
            "color" => some(json!(["red", "green", "blue"])),
            "maybe" => Some(vec![Some(json!(true)), Some(json!(false)), None]),
            _ => None,
        }
    }

    #[test]
    fn constants_are_found_and_nothing_else() {
        for (expression, expected) in [
            ("true", Some(true)),
            ("1 == 2", Some(false)),
            ("job.a || !job.a", Some(true)),
            ("job.a && !job.a", Some(false)),
            ("job.a || job.b", None),
            ("job.color == 'red' && job.color == 'blue'", Some(false)),
            ("job.color in ['red', 'green', 'blue']", Some(true)),
            ("job.color in ['red', 'green']", None),
            ("job.n > 3", None),
            ("job.n > 3 || job.a || !job.a", Some(true)),
            ("job.n > 3 && job.a && !job.a", Some(false)),
            ("has(job.maybe)", None),
            ("job.maybe || !job.maybe", Some(true)),
            ("has(job.n)", None),
            ("has(job.maybe.x) || job.maybe", None),
        ] {
            let condition = Condition::compile(expression).expect(expression);
            let expected = expected.map(Given::Bool);
            assert_eq!(constant(&condition, &values), expected, "{expression}");
        }
    }

    #[test]
    fn what_fails_with_all_values_is_found_and_nothing_else() {
        for (expression, expected) in [
            ("1 / 0 == 1", Some(Given::Error)),
            ("job.color.startsWith()", Some(Given::Error)),
            ("int(job.a) == 1", Some(Given::Error)),
            ("job.n.startsWith()", None),
            ("job.a || 1 / 0 == 1", Some(Given::Bool(true))),
            ("job.a ? 1 / 0 == 1 : job.b", None),
        ] {
            let condition = Condition::compile(expression).expect(expression);
            assert_eq!(constant(&condition, &values), expected, "{expression}");
        }
    }

    #[test]
    fn too_many_combinations_are_not_tried() {
        let many: Vec<String> = (0..11).map(|n| format!("job.a{n}")).collect();
        let condition = Condition::compile(&many.join(" || ")).expect("a condition");
        let bools = |_: &[String]| Some(vec![Some(json!(true)), Some(json!(true))]);
        assert_eq!(constant(&condition, &bools), None);
    }
}

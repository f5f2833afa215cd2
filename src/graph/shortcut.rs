//! Answers what most conditions ask without CEL: comparisons of a path with a text, a whole number or a bool, and `!`, `&&`, `||`.
//!
//! It answers only where CEL could give nothing else: every path leads somewhere, and what is compared has one type. For the rest
//! it has no answer, and CEL is asked.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use serde_json::Value;

use super::condition::Found;
use super::syntax::{Path, segments};

/// A condition that is made of what can be answered here.
#[derive(Debug)]
pub(super) enum Shortcut {
    /// The value at a path, by its index.
    Holds(usize),
    Equals(usize, Scalar),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

#[derive(Debug)]
pub(super) enum Scalar {
    Text(String),
    Whole(i64),
    Truth(bool),
}

impl Shortcut {
    /// Reads an expression with the paths that it reads; `None` where it asks something else.
    pub(super) fn of(expression: &IdedExpr, paths: &[Path]) -> Option<Self> {
        match &expression.expr {
            Expr::Ident(_) | Expr::Select(_) => index(expression, paths).map(Self::Holds),
            Expr::Call(call) => Self::of_call(call, paths),
            Expr::Unspecified
            | Expr::Comprehension(_)
            | Expr::List(_)
            | Expr::Literal(_)
            | Expr::Map(_)
            | Expr::Struct(_) => None,
        }
    }

    fn of_call(call: &CallExpr, paths: &[Path]) -> Option<Self> {
        let of = |part| Self::of(part, paths).map(Box::new);
        let equals = |a, b| {
            let (path, literal) = match (index(a, paths), index(b, paths)) {
                (Some(path), None) => (path, b),
                (None, Some(path)) => (path, a),
                (Some(_), Some(_)) | (None, None) => return None,
            };
            Some(Self::Equals(path, Scalar::of(literal)?))
        };
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_NOT, [a]) => Some(Self::Not(of(a)?)),
            (operators::LOGICAL_AND, [a, b]) => Some(Self::And(of(a)?, of(b)?)),
            (operators::LOGICAL_OR, [a, b]) => Some(Self::Or(of(a)?, of(b)?)),
            (operators::EQUALS, [a, b]) => equals(a, b),
            (operators::NOT_EQUALS, [a, b]) => Some(Self::Not(Box::new(equals(a, b)?))),
            _ => None,
        }
    }

    /// Answers with what was found at each of the paths; `None` where CEL has to.
    pub(super) fn answer(&self, found: &[Found], paths: &[Path]) -> Option<bool> {
        let at = |path: usize| {
            let is_whole = found[path].depth == paths[path].segments.len();
            is_whole.then(|| found[path].value.as_ref())
        };
        match self {
            Self::Holds(path) => at(*path)?.as_bool(),
            Self::Equals(path, scalar) => scalar.is(at(*path)?),
            Self::Not(of) => of.answer(found, paths).map(|holds| !holds),
            Self::And(a, b) => {
                if a.answer(found, paths)? {
                    b.answer(found, paths)
                } else {
                    Some(false)
                }
            }
            Self::Or(a, b) => {
                if a.answer(found, paths)? {
                    Some(true)
                } else {
                    b.answer(found, paths)
                }
            }
        }
    }
}

impl Scalar {
    fn of(expression: &IdedExpr) -> Option<Self> {
        let Expr::Literal(literal) = &expression.expr else {
            return None;
        };
        match literal {
            LiteralValue::String(text) => Some(Self::Text(text.inner().to_owned())),
            LiteralValue::Int(number) => Some(Self::Whole(*number.inner())),
            LiteralValue::Boolean(truth) => Some(Self::Truth(*truth.inner())),
            LiteralValue::Bytes(_)
            | LiteralValue::Double(_)
            | LiteralValue::Null
            | LiteralValue::UInt(_) => None,
        }
    }

    /// Says whether a value is this one; `None` where it is of another type.
    fn is(&self, value: &Value) -> Option<bool> {
        match self {
            Self::Text(text) => Some(value.as_str()? == text),
            Self::Whole(number) => Some(value.as_i64()? == *number),
            Self::Truth(truth) => Some(value.as_bool()? == *truth),
        }
    }
}

/// Gives the index of the path that an expression spells. What stands in `has` is another question.
fn index(expression: &IdedExpr, paths: &[Path]) -> Option<usize> {
    if let Expr::Select(select) = &expression.expr
        && select.test
    {
        return None;
    }
    let spelled = segments(expression)?;
    paths.iter().position(|path| path.segments == spelled)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use crate::graph::condition::{Condition, follow};

    /// Expressions of what a shortcut reads, over paths of every type and one that leads nowhere.
    fn expressions() -> impl Strategy<Value = String> {
        let path = prop::sample::select(vec![
            "job.yes",
            "job.no",
            "job.text",
            "job.n",
            "job.f",
            "job.none",
            "job.absent",
            "job.big",
            "job.list",
            "job['yes']",
        ]);
        let literal =
            prop::sample::select(vec!["'a'", "''", "1", "-1", "1.0", "true", "false", "null"]);
        let leaf = prop_oneof![
            path.clone().prop_map(str::to_owned),
            (
                path.clone(),
                prop::sample::select(vec!["==", "!="]),
                literal.clone()
            )
                .prop_map(|(path, sign, literal)| format!("{path} {sign} {literal}")),
            (
                literal,
                prop::sample::select(vec!["==", "!="]),
                path.clone()
            )
                .prop_map(|(literal, sign, path)| format!("{literal} {sign} {path}")),
            path.prop_map(|path| format!("has({})", path.replace("['yes']", ".yes"))),
        ];
        leaf.prop_recursive(3, 12, 2, |inner| {
            prop_oneof![
                inner.clone().prop_map(|a| format!("!({a})")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
                (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) || ({b})")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_shortcut_answers_as_cel_does(expression in expressions()) {
            let variables = json!({"job": {
                "yes": true, "no": false, "text": "a", "n": 1, "f": 1.0, "none": null, "big": u64::MAX, "list": [1],
            }});
            let Ok(condition) = Condition::compile(&expression) else {
                return Ok(());
            };
            let answers = condition.both(|_, path| follow(&variables, path, 0));
            if let (Some(shortcut), cel) = answers {
                prop_assert_eq!(Ok(shortcut), cel);
            }
        }
    }

    #[test]
    fn common_conditions_need_no_cel() {
        let value = json!({"executor": {"status": "failed"}});
        let stages = json!({"stages": value, "job": {"review": false}});
        for (expression, holds) in [
            ("stages.executor.status != 'succeeded' || job.review", true),
            (
                "!job.review && stages.executor.status == 'succeeded'",
                false,
            ),
            ("job.review == true", false),
        ] {
            let condition = Condition::compile(expression).expect("an expression");
            let answers = condition.both(|_, path| follow(&stages, path, 0));
            assert_eq!(answers, (Some(holds), Ok(holds)), "{expression}");
        }
    }
}

//! Infers the type of a condition from the types of what it reads, and finds what is certain to be wrong with it.
//!
//! Silent where it is not sure: an operand that can be anything fits everywhere.

use std::cell::OnceCell;
use std::ops::Range;

use cel::IdedExpr;
use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr};
use serde_json::Value;

use super::diagnostic::{did_you_mean, shown};
use super::places::Places;
use super::syntax::{self, is_test, is_type_name, segments};
use super::types::{Field, Sorts, Type};

/// Names that a help lists.
const LISTED: usize = 12;

/// What is wrong with a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub code: &'static str,
    /// The bytes of the expression that are to blame.
    pub span: Range<usize>,
    pub message: String,
    pub help: Option<String>,
}

/// Gives what a variable, or the longest part of a path that is one, holds, and how many segments that are; `None` where that
/// is not known.
pub(super) type Variables<'f, 's> = &'f dyn Fn(&[&str]) -> Option<(Type<'s>, usize)>;

/// Finds what is certain to be wrong with the types of a condition.
pub(super) fn problems(root: &IdedExpr, text: &str, variables: Variables<'_, '_>) -> Vec<Problem> {
    let places = OnceCell::new();
    let mut inference = Inference {
        root,
        text,
        found_places: &places,
        variables,
        bound: Vec::new(),
        problems: Vec::new(),
    };
    let found = inference.of(root);
    if inference.problems.is_empty() && !found.sorts.meets(Sorts::BOOL) {
        let (span, what) = match segments(root) {
            Some(path) => (
                inference.places().path(&path),
                format!("`{}`", shown(&path.join("."))),
            ),
            None => (0..text.len(), "this condition".to_owned()),
        };
        inference.problems.push(Problem {
            code: "not-bool",
            span,
            message: format!("{what} gives {}, not a bool", found.sorts.text()),
            help: Some("compare it with something: `… == …`".to_owned()),
        });
    }
    inference.problems
}

/// Gives what a path of an expression leads to; `None` where there is no such thing, or nothing is known of its variable.
pub(super) fn path_type<'s>(segments: &[String], variables: Variables<'_, 's>) -> Option<Type<'s>> {
    let names: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (found, depth) = variables(&names)?;
    follow(found, &names[depth..])
}

/// Follows fields; `None` where there is no such thing.
pub(super) fn follow<'s>(mut found: Type<'s>, names: &[&str]) -> Option<Type<'s>> {
    let mut absent = found.absent;
    for name in names {
        let Field::Is(field) = found.field(name) else {
            return None;
        };
        absent |= field.absent || !found.sorts.within(Sorts::MAP);
        found = field;
    }
    found.absent = absent;
    Some(found)
}

struct Inference<'f, 's> {
    root: &'f IdedExpr,
    text: &'f str,
    /// Nearly all conditions have no problem, and nobody asks for a place.
    found_places: &'f OnceCell<Places<'f>>,
    variables: Variables<'f, 's>,
    bound: Vec<(&'f str, Type<'s>)>,
    problems: Vec<Problem>,
}

impl<'f, 's> Inference<'f, 's> {
    fn places(&self) -> &'f Places<'f> {
        self.found_places.get_or_init(|| Places::of(self.text))
    }

    fn of(&mut self, expression: &'f IdedExpr) -> Type<'s> {
        if let Some(path) = segments(expression) {
            let found = self.path(&path);
            return if is_test(expression) {
                Type::BOOL
            } else {
                found
            };
        }
        match &expression.expr {
            Expr::Literal(literal) => of_literal(literal),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(over) => self.comprehension(over),
            Expr::List(list) => {
                let elements: Vec<_> = list.elements.iter().map(|e| self.of(e)).collect();
                let element = elements.into_iter().reduce(Type::or);
                Type::list_of(element.unwrap_or(Type::ANY))
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    self.entry(&entry.expr);
                }
                Type::of(Sorts::MAP)
            }
            Expr::Struct(_) => Type::of(Sorts::MAP),
            Expr::Unspecified | Expr::Ident(_) => Type::ANY,
        }
    }

    fn entry(&mut self, entry: &'f EntryExpr) {
        if let EntryExpr::MapEntry(entry) = entry {
            self.of(&entry.key);
            self.of(&entry.value);
        }
    }

    /// Follows a path from its variable. The first name that is not there is the defect.
    fn path(&mut self, path: &[&str]) -> Type<'s> {
        if is_type_name(path) {
            return Type::of(Sorts::TYPE);
        }
        let bound = self.bound.iter().rev().find(|(name, _)| *name == path[0]);
        let start = match bound {
            Some((_, of)) => Some((of.clone(), 1)),
            None => (self.variables)(path),
        };
        let Some((mut found, depth)) = start else {
            return Type::ANY;
        };
        for end in depth..path.len() {
            let owner = format!("`{}`", shown(&path[..end].join(".")));
            let span = || self.places().end_of(&path[..=end]);
            match step(&found, path[end], &owner, &span) {
                Ok(field) => found = field,
                Err(problem) => {
                    self.problems.push(problem);
                    return Type::ANY;
                }
            }
        }
        found
    }

    fn select(&mut self, select: &'f SelectExpr) -> Type<'s> {
        let operand = self.of(&select.operand);
        let name = select.field.as_str();
        let places = || self.places();
        let found = match step(&operand, name, "this", &|| places().field(name)) {
            Ok(field) => field,
            Err(problem) => {
                self.problems.push(problem);
                Type::ANY
            }
        };
        if select.test { Type::BOOL } else { found }
    }

    fn call(&mut self, call: &'f CallExpr) -> Type<'s> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (op::CONDITIONAL, [condition, yes, no]) => {
                self.bool(condition, "`? :`");
                let (yes, no) = (self.of(yes), self.of(no));
                yes.or(no)
            }
            (op::LOGICAL_AND, [a, b]) => self.bools(&[a, b], "`&&`"),
            (op::LOGICAL_OR, [a, b]) => self.bools(&[a, b], "`||`"),
            (op::LOGICAL_NOT, [a]) => self.bools(&[a], "`!`"),
            (op::NOT_STRICTLY_FALSE, [a]) => {
                self.of(a);
                Type::BOOL
            }
            (op::EQUALS | op::NOT_EQUALS, [a, b]) => {
                let (of_a, of_b) = (self.of(a), self.of(b));
                self.equal(a, &of_a, b, &of_b);
                Type::BOOL
            }
            (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, [a, b]) => {
                let (of_a, of_b) = (self.of(a), self.of(b));
                self.ordered(a, &of_a, b, &of_b);
                Type::BOOL
            }
            (op::IN, [a, b]) => {
                self.within(a, b);
                Type::BOOL
            }
            (op::INDEX, [operand, key]) => {
                let operand = self.of(operand);
                self.of(key);
                if !operand.sorts.meets(Sorts::LIST) {
                    return Type::ANY;
                }
                match &key.expr {
                    Expr::Literal(LiteralValue::Int(place)) => {
                        operand.element(usize::try_from(*place.inner()).ok())
                    }
                    _ => Type::ANY,
                }
            }
            (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO, [a, b]) => {
                self.arithmetic(&call.func_name, a, b)
            }
            (op::NEGATE, [a]) => {
                let of_a = self.of(a);
                self.fits(a, &of_a, Sorts::NUMBER, "`-`");
                Type::of(Sorts::NUMBER)
            }
            _ => self.function(call),
        }
    }

    fn function(&mut self, call: &'f CallExpr) -> Type<'s> {
        let target = call.target.as_deref();
        let operands = target.into_iter().chain(&call.args);
        let operands: Vec<_> = operands
            .map(|operand| (operand, self.of(operand)))
            .collect();
        let mut takes = |sorts| {
            if let Some((operand, found)) = operands.first() {
                self.fits(operand, found, sorts, &format!("`{}`", call.func_name));
            }
        };
        let gives = match call.func_name.as_str() {
            "size" => {
                let inner = Sorts::LIST.or(Sorts::MAP);
                takes(inner.or(Sorts::STRING).or(Sorts::BYTES));
                Sorts::NUMBER
            }
            "startsWith" | "endsWith" => {
                takes(Sorts::STRING);
                Sorts::BOOL
            }
            "matches" => {
                takes(Sorts::STRING);
                if let Some(&(pattern, _)) = operands.last() {
                    self.pattern(pattern);
                }
                Sorts::BOOL
            }
            "contains" => {
                takes(
                    Sorts::STRING
                        .or(Sorts::LIST)
                        .or(Sorts::MAP)
                        .or(Sorts::BYTES),
                );
                Sorts::BOOL
            }
            "bool" => Sorts::BOOL,
            "bytes" => Sorts::BYTES,
            "int" | "uint" | "double" => Sorts::NUMBER,
            "string" => Sorts::STRING,
            "type" => Sorts::TYPE,
            "duration" | "timestamp" => Sorts::TIME,
            name if name.starts_with("get") => Sorts::NUMBER,
            _ => Sorts::ANY,
        };
        Type::of(gives)
    }

    /// A pattern that is written out is one that the evaluator can read: it uses the same crate.
    fn pattern(&mut self, operand: &IdedExpr) {
        let Expr::Literal(LiteralValue::String(pattern)) = &operand.expr else {
            return;
        };
        if let Err(error) = regex::Regex::new(pattern.inner()) {
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default();
            let why = why.trim_start_matches("error: ");
            self.problems.push(Problem {
                code: "bad-pattern",
                span: self.place(operand),
                message: format!("{} is no regular expression: {why}", name_of(operand)),
                help: None,
            });
        }
    }

    fn bools(&mut self, operands: &[&'f IdedExpr], of: &str) -> Type<'s> {
        for operand in operands {
            self.bool(operand, of);
        }
        Type::BOOL
    }

    fn bool(&mut self, operand: &'f IdedExpr, of: &str) {
        let found = self.of(operand);
        if !found.sorts.meets(Sorts::BOOL) {
            let problem = self.misfit(operand, &found, Sorts::BOOL, of);
            self.problems.push(Problem {
                code: "not-bool",
                help: Some("compare it with something: `… == …`".to_owned()),
                ..problem
            });
        }
    }

    /// Says whether an operand can be what is taken of it.
    fn fits(&mut self, operand: &IdedExpr, found: &Type<'s>, takes: Sorts, of: &str) -> bool {
        let fits = found.sorts.meets(takes);
        if !fits {
            let problem = self.misfit(operand, found, takes, of);
            self.problems.push(problem);
        }
        fits
    }

    fn misfit(&self, operand: &IdedExpr, found: &Type<'s>, takes: Sorts, of: &str) -> Problem {
        Problem {
            code: "wrong-operand",
            span: self.place(operand),
            message: format!(
                "{of} takes {}, and {} is {}",
                takes.text(),
                name_of(operand),
                found.sorts.text()
            ),
            help: None,
        }
    }

    fn arithmetic(&mut self, name: &str, a: &'f IdedExpr, b: &'f IdedExpr) -> Type<'s> {
        let (of_a, of_b) = (self.of(a), self.of(b));
        let sign = format!("`{}`", name.trim_matches('_'));
        let lists = if name == op::ADD {
            Sorts::STRING.or(Sorts::LIST).or(Sorts::BYTES)
        } else {
            Sorts::NUMBER
        };
        let takes = Sorts::NUMBER.or(Sorts::TIME).or(lists);
        if !self.fits(a, &of_a, takes, &sign) {
            return Type::ANY;
        }
        // A list takes more than lists, so that is left to the run.
        if of_a.sorts.meets(Sorts::LIST) || !self.fits(b, &of_b, takes, &sign) {
            return Type::ANY;
        }
        let both = of_a.sorts.or(of_b.sorts);
        if both.within(Sorts::NUMBER) || both.within(Sorts::STRING) {
            return Type::of(both);
        }
        if !both.meets(Sorts::TIME) && !of_a.sorts.meets(of_b.sorts) {
            self.unlike("wrong-operand", &sign, (a, &of_a), (b, &of_b));
        }
        Type::ANY
    }

    /// Values that can never be equal make a comparison that means something else than it says.
    fn equal(&mut self, a: &IdedExpr, of_a: &Type<'s>, b: &IdedExpr, of_b: &Type<'s>) {
        // A comparison with null is how a condition asks whether there is a value.
        let is_null = |found: &Type<'s>| found.sorts == Sorts::NULL;
        if is_null(of_a) || is_null(of_b) {
            return;
        }
        if !of_a.sorts.meets(of_b.sorts) {
            self.unlike("never-equal", "this compares", (a, of_a), (b, of_b));
            return;
        }
        let (Some(values_a), Some(values_b)) = (&of_a.values, &of_b.values) else {
            return;
        };
        if values_a.iter().any(|value| values_b.contains(value)) {
            return;
        }
        // The operand with one value is the slip; the other says what is right.
        let (named, slip, literal, known) = match (values_a.as_slice(), values_b.as_slice()) {
            (_, [Value::String(text)]) => (a, b, text, values_a),
            ([Value::String(text)], _) => (b, a, text, values_b),
            _ => return,
        };
        let known: Vec<&str> = known.iter().filter_map(Value::as_str).collect();
        let near = did_you_mean(literal, known.iter().copied());
        self.problems.push(Problem {
            code: "never-equal",
            span: self.place(slip),
            message: format!("{} is never `{}` here", name_of(named), shown(literal)),
            help: near.or_else(|| listed(&known)),
        });
    }

    /// `a in b`: each element that is written out has to be possible.
    fn within(&mut self, a: &'f IdedExpr, b: &'f IdedExpr) {
        let of_a = self.of(a);
        if let Expr::List(list) = &b.expr {
            for element in &list.elements {
                let of_element = self.of(element);
                self.equal(a, &of_a, element, &of_element);
            }
            return;
        }
        let of_b = self.of(b);
        let inner = Sorts::LIST.or(Sorts::MAP);
        if self.fits(b, &of_b, inner, "`in`") && !of_b.sorts.meets(Sorts::MAP) {
            self.equal(a, &of_a, b, &of_b.element(None));
        }
    }

    fn ordered(&mut self, a: &IdedExpr, of_a: &Type<'s>, b: &IdedExpr, of_b: &Type<'s>) {
        let no_order = Sorts::LIST.or(Sorts::MAP).or(Sorts::NULL).or(Sorts::TYPE);
        let all = of_a.sorts.and(of_b.sorts);
        if all.within(no_order) {
            self.unlike("wrong-operand", "this orders", (a, of_a), (b, of_b));
        }
    }

    fn unlike(
        &mut self,
        code: &'static str,
        does: &str,
        (a, of_a): (&IdedExpr, &Type<'s>),
        (b, of_b): (&IdedExpr, &Type<'s>),
    ) {
        let blamed = match &b.expr {
            Expr::Literal(LiteralValue::String(_)) => b,
            _ if segments(a).is_some() => a,
            _ => b,
        };
        let (does, joint) = if does.starts_with('`') {
            (format!("{does} cannot join"), "and")
        } else {
            (does.to_owned(), "with")
        };
        self.problems.push(Problem {
            code,
            span: self.place(blamed),
            message: format!(
                "{does} {} {joint} {}",
                described(a, of_a),
                described(b, of_b)
            ),
            help: None,
        });
    }

    fn place(&self, operand: &IdedExpr) -> Range<usize> {
        match (&operand.expr, segments(operand)) {
            (_, Some(path)) => self.places().path(&path),
            (Expr::Literal(LiteralValue::String(text)), None) => {
                let text = text.inner();
                self.places()
                    .text(text, syntax::times_before(self.root, operand, text))
            }
            _ => self.places().whole(),
        }
    }

    /// `exists`, `all`, `exists_one`, `map` and `filter` are gone once an expression is parsed: the parts that they leave are told
    /// apart by what the accumulator begins with.
    fn comprehension(&mut self, over: &'f ComprehensionExpr) -> Type<'s> {
        let range = self.of(&over.iter_range);
        let inner = Sorts::LIST.or(Sorts::MAP);
        self.fits(
            &over.iter_range,
            &range,
            inner,
            "`exists`, `all`, `map` and `filter`",
        );
        let element = match (
            range.sorts.meets(Sorts::LIST),
            range.sorts.meets(Sorts::MAP),
        ) {
            (true, false) => range.element(None),
            (false, _) | (true, true) => Type::ANY,
        };
        let outside = self.bound.len();
        self.bound.push((&over.iter_var, element));
        if let Some(second) = &over.iter_var2 {
            self.bound.push((second, Type::ANY));
        }
        self.bound.push((&over.accu_var, Type::ANY));
        let gives = self.folded(over);
        self.bound.truncate(outside);
        gives
    }

    fn folded(&mut self, over: &'f ComprehensionExpr) -> Type<'s> {
        let Expr::Call(step) = &over.loop_step.expr else {
            return Type::ANY;
        };
        match (&over.accu_init.expr, step.args.as_slice()) {
            (Expr::Literal(LiteralValue::Boolean(_)), [_, predicate]) => {
                self.bool(predicate, "`exists` and `all`");
                Type::BOOL
            }
            (Expr::Literal(LiteralValue::Int(_)), [predicate, ..]) => {
                self.bool(predicate, "`exists_one`");
                Type::BOOL
            }
            (Expr::List(_), [predicate, appended, _]) => {
                self.bool(predicate, "`filter` and `map`");
                self.appended(appended)
            }
            (Expr::List(_), [_, _]) => self.appended(&over.loop_step),
            _ => Type::ANY,
        }
    }

    /// Gives the list that `@result + [element]` builds.
    fn appended(&mut self, step: &'f IdedExpr) -> Type<'s> {
        let Expr::Call(call) = &step.expr else {
            return Type::ANY;
        };
        match call.args.as_slice() {
            [_, list] => self.of(list),
            _ => Type::ANY,
        }
    }
}

/// Gives what a field is, or what is wrong with its name.
fn step<'s>(
    of: &Type<'s>,
    name: &str,
    owner: &str,
    span: &dyn Fn() -> Range<usize>,
) -> Result<Type<'s>, Problem> {
    match of.field(name) {
        Field::Is(field) => Ok(field),
        Field::Missing(keys) => Err(Problem {
            code: "unknown-path",
            span: span(),
            message: format!("{owner} has no field `{}`", shown(name)),
            help: did_you_mean(name, keys.iter().copied()).or_else(|| listed(&keys)),
        }),
        Field::NoMap => Err(Problem {
            code: "unknown-path",
            span: span(),
            message: format!(
                "{owner} is {}, so it has no field `{}`",
                of.sorts.text(),
                shown(name)
            ),
            help: Some("a list has elements: `….exists(x, x.…)`".to_owned())
                .filter(|_| of.sorts.meets(Sorts::LIST)),
        }),
    }
}

fn of_literal<'s>(literal: &LiteralValue) -> Type<'s> {
    match literal {
        LiteralValue::Boolean(truth) => Type::one_of(vec![Value::Bool(*truth.inner())]),
        LiteralValue::Bytes(_) => Type::of(Sorts::BYTES),
        LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => {
            Type::of(Sorts::NUMBER)
        }
        LiteralValue::Null => Type::one_of(vec![Value::Null]),
        LiteralValue::String(text) => Type::one_of(vec![text.inner().into()]),
    }
}

fn name_of(operand: &IdedExpr) -> String {
    match (&operand.expr, segments(operand)) {
        (_, Some(path)) => format!("`{}`", shown(&path.join("."))),
        (Expr::Literal(LiteralValue::String(text)), None) => format!("`'{}'`", shown(text.inner())),
        _ => "what stands there".to_owned(),
    }
}

fn described(operand: &IdedExpr, found: &Type<'_>) -> String {
    let sorts = found.sorts.text();
    match segments(operand) {
        Some(path) => format!("`{}`, {sorts},", shown(&path.join("."))),
        None => sorts,
    }
}

fn listed<'a>(names: impl IntoIterator<Item = &'a &'a str>) -> Option<String> {
    let mut names = names.into_iter();
    let mut shown: Vec<String> = names
        .by_ref()
        .take(LISTED)
        .map(|name| format!("`{name}`"))
        .collect();
    if names.next().is_some() {
        shown.push("…".to_owned());
    }
    (!shown.is_empty()).then(|| format!("there are {}", shown.join(", ")))
}

//! Conditions: CEL over `job`, `stages.ID.status`, `stages.ID.output`, outputs by kind and `open_questions`.
//!
//! An expression is compiled once, with the paths that it reads. When it is evaluated, only these paths are handed to it,
//! and they are what the decision records: a condition cannot read, and a record cannot hold, anything else.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock, OnceLock};

use cel::parser::PrattParser;
use cel::{Env, IdedExpr};
use serde_json::Value;

use super::diagnostic::{did_you_mean, shown};
use super::places::Places;
use super::shortcut::Shortcut;
use super::syntax;
pub use super::syntax::Path;
pub(super) use patterns::Patterns;

mod patterns;

/// Bytes that an expression may have.
const MAX_BYTES: usize = 2_000;
/// Brackets that the parser follows into each other. What it gives is measured again: chains of operators nest too.
const MAX_BRACKETS: u16 = 48;

static ENV: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// A compiled condition.
#[derive(Debug)]
pub struct Condition {
    expression: Arc<str>,
    /// Of a known pattern few are ever asked for their tree.
    root: OnceLock<IdedExpr>,
    paths: Vec<Path>,
    /// Whether the expression spells each path with dots; CEL then takes a variable of that name for the whole path.
    dotted: bool,
    names: OnceLock<Vec<String>>,
    shortcut: Option<Arc<Shortcut>>,
    /// The number of its pattern among those of its graph.
    pattern: Option<usize>,
}

/// Why an expression is not a condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConditionError {
    /// What is wrong.
    pub message: String,
    /// The bytes of the expression that are to blame.
    pub span: Range<usize>,
    /// The next step.
    pub help: Option<String>,
}

/// A condition that could not be evaluated, or gave something else than a bool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the condition `{expression}` {problem}")]
pub struct EvaluationError {
    /// The expression.
    pub expression: String,
    /// What went wrong.
    pub problem: String,
    /// The values that the expression reads; null where a path leads nowhere.
    pub values: BTreeMap<String, Value>,
}

/// What a condition gave, and the values that it read by path.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The result.
    pub holds: bool,
    /// The values that the expression reads; null where a path leads nowhere.
    pub values: BTreeMap<String, Value>,
}

impl Condition {
    /// Compiles an expression.
    ///
    /// # Errors
    /// It is not CEL, calls a function that CEL does not have, or is too long or nested too deeply.
    pub fn compile(expression: &str) -> Result<Self, ConditionError> {
        let whole = 0..expression.len();
        let refuse = |message: String, span| ConditionError {
            message,
            span,
            help: None,
        };
        if expression.len() > MAX_BYTES {
            let message = format!("a condition has at most {MAX_BYTES} bytes");
            return Err(refuse(message, whole));
        }
        let root = parse(expression).map_err(|errors| {
            let first = errors.errors.first();
            let message = first.map_or("it cannot be parsed", |error| error.msg.as_str());
            let at = first.map_or(0, |error| offset(expression, error.pos));
            refuse(
                format!("this is not a CEL expression: {}", shown(message)),
                at..whole.end.max(at),
            )
        })?;
        if !syntax::is_shallow(&root) {
            return Err(refuse(
                "this condition is nested too deeply".to_owned(),
                whole,
            ));
        }
        let places = Places::of(expression);
        if let Some(function) = syntax::unknown_function(&root) {
            return Err(ConditionError {
                message: format!("conditions have no function `{}`", shown(function)),
                span: places.name(function),
                help: did_you_mean(function, syntax::FUNCTIONS.iter().copied()),
            });
        }
        let paths = syntax::paths(&root, &places);
        Ok(Self {
            expression: expression.into(),
            dotted: syntax::spells_names(&root),
            shortcut: Shortcut::of(&root, &paths).map(Arc::new),
            root: root.into(),
            paths,
            names: OnceLock::new(),
            pattern: None,
        })
    }

    /// Gives the expression as the graph file has it.
    #[must_use]
    pub const fn expression(&self) -> &Arc<str> {
        &self.expression
    }

    /// Gives the expression as a tree.
    pub(super) fn root(&self) -> &IdedExpr {
        self.root.get_or_init(|| {
            // Another expression of its pattern was parsed, and nothing but names is different.
            parse(&self.expression).unwrap_or_default()
        })
    }

    /// Gives the number of its pattern among those of its graph: conditions of one pattern are the same but for the stages that
    /// they name.
    pub(super) const fn pattern(&self) -> Option<usize> {
        self.pattern
    }

    /// Gives the paths that the expression reads, without repetition.
    #[must_use]
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// Says whether two expressions are the same but for their spelling: spaces, quotes, superfluous brackets.
    #[must_use]
    pub fn means(&self, other: &Self) -> bool {
        self.root() == other.root()
    }

    /// Says whether the expression reads nothing but the given variable.
    #[must_use]
    pub fn reads_only(&self, variable: &str) -> bool {
        self.paths.iter().all(|path| path.segments[0] == variable)
    }

    /// Evaluates the condition. `lookup` gives the value at a path (with its index in [`Self::paths`]), or the part that exists.
    ///
    /// # Errors
    /// The expression fails, for instance because a path leads nowhere, or it gives something else than a bool.
    pub fn evaluate<'v>(
        &self,
        lookup: impl Fn(usize, &[String]) -> Found<'v>,
    ) -> Result<Decision, EvaluationError> {
        let found = self.find(lookup);
        let shortcut = self.shortcut.as_ref();
        let answer = shortcut.and_then(|shortcut| shortcut.answer(&found, &self.paths));
        let answer = answer.map_or_else(|| self.ask_cel(&found), Ok);
        let values = self.paths.iter().zip(found).map(|(path, found)| {
            let is_whole = found.is_whole(path);
            let value = is_whole.then(|| found.value.into_owned());
            (path.text(), value.unwrap_or_default())
        });
        let values = values.collect();
        match answer {
            Ok(holds) => Ok(Decision { holds, values }),
            Err(problem) => Err(EvaluationError {
                expression: self.expression.to_string(),
                problem,
                values,
            }),
        }
    }

    fn find<'v>(&self, lookup: impl Fn(usize, &[String]) -> Found<'v>) -> Vec<Found<'v>> {
        let paths = self.paths.iter().enumerate();
        paths
            .map(|(index, path)| lookup(index, &path.segments))
            .collect()
    }

    /// Evaluates the expression; else says what went wrong.
    fn ask_cel(&self, found: &[Found]) -> Result<bool, String> {
        let mut context = cel::Context::with_env(Arc::clone(&ENV));
        self.bind(found, &mut context);
        match cel::Value::resolve(self.root(), &context) {
            Ok(cel::Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("gave {}, not a bool", other.type_of())),
            Err(error) => Err(format!(
                "cannot be evaluated: {}",
                shown(&error.to_string())
            )),
        }
    }

    /// Hands the values that were found to the expression: each by the name of its path where that will do, else as trees.
    fn bind(&self, found: &[Found], context: &mut cel::Context) {
        let pairs = self.paths.iter().zip(found);
        if self.dotted && pairs.clone().all(|(path, found)| found.is_whole(path)) {
            let names = || self.paths.iter().map(Path::text).collect();
            let names = self.names.get_or_init(names);
            for (name, found) in names.iter().zip(found) {
                context.add_variable_from_value(name.as_str(), to_cel(&found.value));
            }
            return;
        }
        let mut variables: BTreeMap<String, Value> = BTreeMap::new();
        for (path, found) in pairs {
            let existing = &path.segments[..found.depth];
            graft(&mut variables, existing, &found.value, found.is_whole(path));
        }
        for (name, value) in variables {
            context.add_variable_from_value(name, to_cel(&value));
        }
    }

    /// Gives the shortcut's answer beside CEL's.
    #[cfg(test)]
    pub(super) fn both<'v>(
        &self,
        lookup: impl Fn(usize, &[String]) -> Found<'v>,
    ) -> (Option<bool>, Result<bool, String>) {
        let found = self.find(lookup);
        let shortcut = self.shortcut.as_ref();
        let answer = shortcut.and_then(|shortcut| shortcut.answer(&found, &self.paths));
        (answer, self.ask_cel(&found))
    }
}

fn parse(expression: &str) -> Result<IdedExpr, cel::ParseErrors> {
    let parser = PrattParser::new().max_recursion_depth(MAX_BRACKETS);
    parser.parse(expression)
}

/// How far a path leads.
#[derive(Debug, Clone)]
pub struct Found<'v> {
    /// How many segments exist.
    pub depth: usize,
    /// The value at that depth.
    pub value: Cow<'v, Value>,
}

impl Found<'_> {
    fn is_whole(&self, path: &Path) -> bool {
        self.depth == path.segments.len()
    }
}

/// Follows a path into a value; `depth` segments were used to get to it.
#[must_use]
pub fn follow<'v>(mut value: &'v Value, path: &[String], mut depth: usize) -> Found<'v> {
    while let Some(next) = path.get(depth).and_then(|name| value.get(name.as_str())) {
        value = next;
        depth += 1;
    }
    Found {
        depth,
        value: Cow::Borrowed(value),
    }
}

/// Puts a value into the tree of variables. A path that leads nowhere leaves the last thing that exists, without its contents.
fn graft(tree: &mut BTreeMap<String, Value>, path: &[String], value: &Value, whole: bool) {
    let Some((variable, rest)) = path.split_first() else {
        return;
    };
    let mut place = tree
        .entry(variable.clone())
        .or_insert_with(|| Value::Object(serde_json::Map::new()));
    for name in rest {
        let Value::Object(map) = place else {
            return;
        };
        place = map
            .entry(name.clone())
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
    }
    if whole || !value.is_object() {
        // Of a path and its prefix the longer one adds nothing.
        place.clone_from(value);
    }
}

fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(truth) => cel::Value::Bool(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => cel::Value::Int(number),
            (None, Some(number)) => cel::Value::UInt(number),
            (None, None) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(list) => cel::Value::List(Arc::new(list.iter().map(to_cel).collect())),
        Value::Object(map) => {
            let entries: std::collections::HashMap<String, cel::Value> = map
                .iter()
                .map(|(key, value)| (key.clone(), to_cel(value)))
                .collect();
            entries.into()
        }
    }
}

/// Turns the parser's line and character into a byte of the expression.
fn offset(expression: &str, (line, character): (isize, isize)) -> usize {
    let line = usize::try_from(line).unwrap_or(1).max(1) - 1;
    let character = usize::try_from(character).unwrap_or(1).max(1) - 1;
    let start: usize = expression
        .split_inclusive('\n')
        .take(line)
        .map(str::len)
        .sum();
    expression[start..]
        .char_indices()
        .nth(character)
        .map_or(expression.len(), |(at, _)| start + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn evaluate(expression: &str) -> Result<Decision, String> {
        let variables = json!({
            "job": {"n": 3, "big": u64::MAX, "f": 1.5, "list": [1, 2], "secret": "hidden", "deep": {"a": {"b": null}}},
            "open_questions": [{"id": "q", "blocking": true}],
        });
        let condition = Condition::compile(expression).map_err(|error| error.to_string())?;
        let found = condition.evaluate(|_, path| follow(&variables, path, 0));
        found.map_err(|error| error.to_string())
    }

    fn paths(expression: &str) -> Vec<String> {
        let condition = Condition::compile(expression).expect("an expression");
        condition.paths().iter().map(Path::text).collect()
    }

    #[test]
    fn results() {
        for (expression, holds) in [
            ("job.n == 3", true),
            ("job.n > 2.5", true),
            ("job.big > 5", true),
            ("job.f * 2.0 == 3.0", true),
            ("2 in job.list", true),
            ("job['n'] == 4", false),
            ("open_questions.exists(q, q.blocking)", true),
            ("open_questions.all(q, q.id == 'r')", false),
            ("has(job.absent)", false),
            ("has(job.n)", true),
            ("job.deep.a.b == null", true),
            ("size(job.list) == 2 && job.list[1] == 2", true),
            ("job.n == 3 || job.absent", true),
            ("true", true),
        ] {
            assert_eq!(
                evaluate(expression).map(|d| d.holds),
                Ok(holds),
                "{expression}"
            );
        }
    }

    #[test]
    fn only_what_is_read_is_recorded() {
        let decision = evaluate("job.n == 3 && !has(job.deep.x)").expect("a decision");
        let values = BTreeMap::from([
            ("job.n".to_owned(), json!(3)),
            ("job.deep.x".to_owned(), Value::Null),
        ]);
        assert_eq!(decision.values, values);
    }

    #[test]
    fn an_error_is_never_false() {
        for expression in [
            "job.absent",
            "job.n",
            "job.n && true",
            "job.deep.a.b.c == 1",
            "job.list[7] == 1",
            "nothing",
        ] {
            let error = evaluate(expression).expect_err(expression);
            assert!(
                error.starts_with(&format!("the condition `{expression}` ")),
                "{error}"
            );
        }
    }

    #[test]
    fn paths_are_those_of_the_expression() {
        assert_eq!(
            paths(
                "stages.a.status != 'x' || stages['b-c'].output.v > job.n || open_questions.exists(q, q.blocking && job.m)"
            ),
            [
                "job.m",
                "job.n",
                "open_questions",
                "stages.a.status",
                "stages.b-c.output.v"
            ]
        );
        assert_eq!(paths("[1, 2].exists(job, job > 1)"), [""; 0]);
        assert_eq!(
            paths("job.list[job.n] == {'a': alpha.x}.a"),
            ["alpha.x", "job.list", "job.n"]
        );
    }

    #[test]
    fn paths_point_into_the_expression() {
        let text = "true && stages.abc.status == 'x'";
        let condition = Condition::compile(text).expect("an expression");
        assert_eq!(
            &text[condition.paths()[0].span.clone()],
            "stages.abc.status"
        );
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for (expression, says) in [
            ("", "not a CEL expression"),
            ("job.n ==", "not a CEL expression"),
            ("job.n = 3", "not a CEL expression"),
            ("__import__('os')", "no function `__import__`"),
            ("job.n.foo(1)", "no function `foo`"),
        ] {
            let error = Condition::compile(expression).expect_err(expression);
            assert!(error.message.contains(says), "{expression}: {error}");
        }
    }

    #[test]
    fn hostile_expressions_end() {
        for expression in [
            "(".repeat(1_900),
            "(".repeat(3),
            format!("{}1{} == 1", "(".repeat(95), ")".repeat(95)),
            format!("{}1{}", "[{'a': ".repeat(48), "}]".repeat(48)),
            format!("{}true{}", "[1].all(x, ".repeat(100), ")".repeat(100)),
            "[')',".repeat(300),
            format!("{}1{}", "(1+1+1+".repeat(95), ")".repeat(95)),
            "!".repeat(1_900),
            "!".repeat(300),
            format!("{}1 == 1", "-".repeat(290)),
            format!("true{}", " && true".repeat(230)),
            format!("1{} == 1", "+1".repeat(900)),
            format!("1{} == 1", "+1".repeat(290)),
            format!("a{}", ".b".repeat(300)),
            format!("{}true", "true ? true : ".repeat(120)),
            format!("a{}", "[0]".repeat(600)),
            format!("a{}", ".b".repeat(900)),
            format!("{}1{}", "[".repeat(900), "]".repeat(900)),
            format!("{}true", "true ? true : ".repeat(130)),
            "+".repeat(100_000),
            "\u{0}".to_owned(),
            "é == '\u{1F600}'".to_owned(),
        ] {
            // Whether it is taken or refused is the parser's to say; it must not crash or hang.
            let _ = Condition::compile(&expression)
                .map(|c| c.evaluate(|_, path| follow(&Value::Null, path, 0)));
        }
    }
}

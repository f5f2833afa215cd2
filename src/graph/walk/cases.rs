//! Walks `[[tests]]`.

use std::collections::HashSet;
use std::ops::Range;

use toml::Spanned;

use super::{Table, Walker, parameters};
use crate::graph::cases::{Asked, Case, EdgeName, Expectation, Mock, MockOutcome};
use crate::graph::diagnostic::{Severity, shown};
use crate::graph::event::StageStatus;
use crate::graph::file::With;

const CASE_KEYS: &[&str] = &["name", "input", "skip", "only", "stages", "expect"];
const MOCK_KEYS: &[&str] = &["outcome", "output", "asks"];
const ASKED_KEYS: &[&str] = &["id", "blocking"];
const EXPECT_KEYS: &[&str] = &["status", "stages", "taken", "not_taken"];

impl Walker {
    pub(super) fn cases(&mut self, table: &Table<'_>) -> Vec<Case> {
        let Some(node) = table.get("tests") else {
            return Vec::new();
        };
        let Some(list) = node.get_ref().as_array() else {
            self.wrong_type("tests", node, "an array of tables: `[[tests]]`");
            return Vec::new();
        };
        let mut cases: Vec<Case> = Vec::with_capacity(list.len());
        let mut names = HashSet::new();
        for entry in list {
            let Some(table) = entry.get_ref().as_table() else {
                self.wrong_type("tests", entry, "a table: `[[tests]]`");
                continue;
            };
            let Some(case) = self.case(table, entry.span()) else {
                continue;
            };
            if !names.insert(case.name.get_ref().clone()) {
                let message = format!("there is a test `{}` already", shown(case.name.get_ref()));
                let help = Some("say in its name what is different here".to_owned());
                self.problems
                    .error("duplicate-test", case.name.span(), message, help);
            }
            cases.push(case);
        }
        cases
    }

    fn case(&mut self, table: &Table<'_>, span: Range<usize>) -> Option<Case> {
        self.known_keys(table, CASE_KEYS, "a test");
        let name = self.string(table, "name");
        if !table.contains_key("name") {
            self.problems.error(
                "missing-key",
                span.clone(),
                "this test has no `name`",
                Some("say in a few words what it is about: `name = \"…\"`".to_owned()),
            );
        }
        let input = self.values(table, "input").unwrap_or_default();
        let skip = self.strings(table, "skip").unwrap_or_default();
        let only = self.strings(table, "only").unwrap_or_default();
        let mut stages = Vec::new();
        if let Some((entries, _)) = self.table(table, "stages") {
            for (id, node) in entries {
                let id = Spanned::new(id.span(), id.get_ref().to_string());
                match node.get_ref().as_table() {
                    Some(table) => stages.push(self.mock(id, table)),
                    None => self.wrong_type(id.get_ref(), node, "a table"),
                }
            }
        }
        let found_before = self.problems.count(Severity::Error);
        let expect = self.expectation(table).unwrap_or_default();
        // What is expected and could not be read was told already.
        if expect.is_empty() && self.problems.count(Severity::Error) == found_before {
            self.problems.error(
                "test-expects-nothing",
                span,
                "this test expects nothing, so it cannot fail",
                Some("say what has to come out: `expect = { status = \"succeeded\" }`".to_owned()),
            );
        }
        Some(Case {
            name: name?,
            input,
            skip,
            only,
            stages,
            expect,
        })
    }

    fn mock(&mut self, id: Spanned<String>, table: &Table<'_>) -> Mock {
        self.known_keys(table, MOCK_KEYS, "a stage of a test");
        let outcome = self.string(table, "outcome");
        let outcome = outcome.and_then(|text| {
            let named = MockOutcome::NAMED;
            let found = named.iter().find(|(name, _)| name == text.get_ref());
            if found.is_none() {
                self.not_one_of(&text, &named.map(|(name, _)| name), "an outcome");
            }
            found.map(|(_, outcome)| *outcome)
        });
        Mock {
            id,
            outcome: outcome.unwrap_or(MockOutcome::Succeeded),
            output: self.values(table, "output"),
            asks: self.asked(table),
        }
    }

    fn asked(&mut self, table: &Table<'_>) -> Vec<Asked> {
        let Some(node) = table.get("asks") else {
            return Vec::new();
        };
        let wanted = "an array of questions: `[{ id = \"…\", blocking = true }]`";
        let Some(list) = node.get_ref().as_array() else {
            self.wrong_type("asks", node, wanted);
            return Vec::new();
        };
        let mut asked = Vec::with_capacity(list.len());
        for entry in list {
            let Some(table) = entry.get_ref().as_table() else {
                self.wrong_type("asks", entry, wanted);
                continue;
            };
            self.known_keys(table, ASKED_KEYS, "a question");
            let id = self.string(table, "id");
            if !table.contains_key("id") {
                let message = "this question has no `id`";
                self.problems
                    .error("missing-key", entry.span(), message, None);
            }
            let blocking = self.boolean(table, "blocking");
            asked.extend(id.map(|id| Asked {
                id: id.into_inner(),
                blocking: blocking.is_some_and(Spanned::into_inner),
            }));
        }
        asked
    }

    fn expectation(&mut self, table: &Table<'_>) -> Option<Expectation> {
        let (table, _) = self.table(table, "expect")?;
        self.known_keys(table, EXPECT_KEYS, "`expect`");
        let status = self.string(table, "status").and_then(|text| {
            let named = Expectation::RUN;
            let found = named.iter().find(|(name, _)| name == text.get_ref());
            if found.is_none() {
                let what = "a status that a run of a test can end with";
                self.not_one_of(&text, &named.map(|(name, _)| name), what);
            }
            found.map(|(_, status)| *status)
        });
        let mut stages = Vec::new();
        if let Some((entries, _)) = self.table(table, "stages") {
            for (id, node) in entries {
                let Some(text) = self.as_string(id.get_ref(), node) else {
                    continue;
                };
                let known = Expectation::STAGE;
                let Some(status) = known.iter().find(|s| s.name() == text.get_ref()) else {
                    let what = "a status that a stage can end with";
                    self.not_one_of(&text, &known.map(StageStatus::name), what);
                    continue;
                };
                let id = Spanned::new(id.span(), id.get_ref().to_string());
                stages.push((id, *status));
            }
        }
        Some(Expectation {
            status,
            stages,
            taken: self.edge_names(table, "taken"),
            not_taken: self.edge_names(table, "not_taken"),
        })
    }

    fn edge_names(&mut self, table: &Table<'_>, key: &str) -> Vec<EdgeName> {
        let texts = self.strings(table, key).unwrap_or_default();
        let mut names = Vec::with_capacity(texts.len());
        for text in texts {
            match EdgeName::read(&text) {
                Some(name) => names.push(name),
                None => self.problems.error(
                    "not-an-edge",
                    text.span(),
                    format!("`{}` names no edge", shown(text.get_ref())),
                    Some("write both its stages: `\"from -> to\"`".to_owned()),
                ),
            }
        }
        names
    }

    fn values(&mut self, table: &Table<'_>, key: &str) -> Option<With> {
        let (entries, span) = self.table(table, key)?;
        Some(parameters(entries, span))
    }
}

//! Documents whose parts the job names, in its order.

use super::overrides::secret;
use super::roles::Assessed;
use super::sections::{Draft, pairs, parent_join, parent_label, source, stem_of};
use super::tables::Table;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::diagnostic::did_you_mean;
use crate::handlers::normalize_schema::names::humanized;
use crate::model::analysis::TemplateSection;
use crate::model::metadata::TableRef;
use crate::model::plan::{FieldSource, ParentJoin, Section};
use crate::model::schema_context::Join;

const REASON: &str = "the job's template names it";

impl<'a> Draft<'a> {
    /// Adds a part that a template names.
    ///
    /// # Errors
    /// It names something that is not there, that no join reaches, or that is a secret.
    pub(super) fn add_templated(&mut self, section: &TemplateSection) -> Result<()> {
        match (&section.column, &section.children) {
            (Some(column), None) if section.columns.is_empty() => {
                let (label, field) = self.field(column, section.via.as_deref())?;
                self.sections.push(Section::Field {
                    label: section.label.clone().unwrap_or(label),
                    source: field,
                    score: 1.0,
                    reasons: vec![REASON.to_owned()],
                });
                Ok(())
            }
            (None, Some(children)) if !section.columns.is_empty() => self.rows(section, children),
            _ => Err(self
                .wrong("a section has either `column`, or `children` with `columns`")
                .hint("write {\"column\": \"title\"} or {\"children\": \"comments\", \"columns\": [\"body\"]}")),
        }
    }

    fn wrong(&self, what: &str) -> Error {
        let root = &self.root.profile.table;
        Error::new(
            ErrorKind::Invalid,
            format!("analysis.templates of `{root}`: {what}"),
        )
    }

    /// The label and the source of `column` or `table.column`.
    fn field(&mut self, name: &str, via: Option<&str>) -> Result<(String, FieldSource)> {
        let root: &'a Table<'a> = self.root;
        if let Some(column) = find(root, name) {
            self.allowed(column)?;
            return Ok((humanized(name), source("r", column)));
        }
        let Some((table, column)) = name.rsplit_once('.') else {
            return Err(self.no_column(root, name));
        };
        if is_called(&root.profile.table, table) {
            let found = find(root, column).ok_or_else(|| self.no_column(root, column))?;
            self.allowed(found)?;
            return Ok((humanized(column), source("r", found)));
        }
        let (alias, to, join) = self.reach(table, via)?;
        let found = find(to, column).ok_or_else(|| self.no_column(to, column))?;
        self.allowed(found)?;
        Ok((
            parent_label(&stem_of(join), join, found),
            source(&alias, found),
        ))
    }

    fn allowed(&self, column: &Assessed<'_>) -> Result<()> {
        if !column.is_secret {
            return Ok(());
        }
        let root = &self.root.profile.table;
        let name = &column.column.name;
        Err(secret(
            &format!("analysis.templates of `{root}`: `{}.{name}`", column.table),
            column,
        ))
    }

    fn no_column(&self, table: &Table<'_>, name: &str) -> Error {
        let error = self.wrong(&format!("`{}` has no column `{name}`", table.profile.table));
        let known = table
            .columns
            .iter()
            .map(|column| column.column.name.as_str());
        match did_you_mean(name, known) {
            Some(hint) => error.hint(hint),
            None => error.hint("`relvec inspect` lists the columns; write `table.column` for a column of a table that is referred to"),
        }
    }

    /// The alias of a table that the root refers to, directly or through another one; joined if it is not yet.
    fn reach(
        &mut self,
        name: &str,
        via: Option<&str>,
    ) -> Result<(String, &'a Table<'a>, &'a Join)> {
        let schema = self.schema;
        let root = &self.root.profile.table;
        let by = |join: &&'a Join| {
            via.is_none_or(|via| join.from_columns.iter().any(|column| column == via))
        };
        let direct: Vec<&'a Join> = schema.joins_from(root).filter(by).collect();
        let ends: Vec<&'a Join> = direct
            .iter()
            .copied()
            .filter(|join| is_called(&join.to, name))
            .collect();
        if let [join] = ends.as_slice() {
            return self.step("r", join);
        }
        if ends.len() > 1 {
            let columns: Vec<String> = ends
                .iter()
                .map(|join| format!("`{}`", join.from_columns.join(", ")))
                .collect();
            return Err(self
                .wrong(&format!("several columns refer to `{name}`"))
                .hint(format!(
                    "say which one with `via`: {}",
                    columns.join(" or ")
                )));
        }
        let through: Vec<(&'a Join, &'a Join)> = direct
            .iter()
            .flat_map(|first| schema.joins_from(&first.to).map(|second| (*first, second)))
            .filter(|(_, second)| is_called(&second.to, name))
            .collect();
        match through.as_slice() {
            [(first, second)] => {
                let (alias, _, _) = self.step("r", first)?;
                self.step(&alias, second)
            }
            [] => {
                let error = self.wrong(&format!("no join leads to a table `{name}`"));
                let known: Vec<&str> = direct.iter().map(|join| join.to.name.as_str()).collect();
                Err(match did_you_mean(name, known.iter().copied()) {
                    Some(hint) => error.hint(hint),
                    None if known.is_empty() => {
                        error.hint("it refers to no table: name a join in analysis.joins")
                    }
                    None => error.hint(format!(
                        "it refers to {}; name others in analysis.joins",
                        known.join(", ")
                    )),
                })
            }
            [..] => Err(self
                .wrong(&format!("several ways lead to `{name}`"))
                .hint("say with `via` by which column of the table it is reached")),
        }
    }

    fn step(&mut self, left: &str, join: &'a Join) -> Result<(String, &'a Table<'a>, &'a Join)> {
        let schema = self.schema;
        let to = schema
            .table(&join.to)
            .ok_or_else(|| self.wrong(&format!("the table `{}` is left out", join.to)))?;
        let on = pairs(join);
        let known = self
            .parents
            .iter()
            .find(|parent| parent.left == left && parent.table == join.to && parent.on == on);
        if let Some(parent) = known {
            return Ok((parent.alias.clone(), to, join));
        }
        let alias = self.alias();
        self.parents.push(parent_join(&alias, left, join, to));
        Ok((alias, to, join))
    }

    /// Adds rows of a table that refers to the root.
    fn rows(&mut self, section: &TemplateSection, name: &str) -> Result<()> {
        let schema = self.schema;
        if self.root.key(schema.context.dialect).is_none() {
            return Err(self
                .wrong(&format!(
                    "it has no key, so that rows of `{name}` cannot be put to one of its rows"
                ))
                .hint("name the columns that identify its rows in analysis.keys"));
        }
        let root = self.root.profile.table.clone();
        let referring: Vec<&'a Join> = schema
            .context
            .joins
            .iter()
            .filter(|join| join.to == root && is_called(&join.from, name))
            .filter(|join| {
                section
                    .via
                    .as_ref()
                    .is_none_or(|via| join.from_columns.contains(via))
            })
            .collect();
        let join = match referring.as_slice() {
            [join] => *join,
            [] => {
                let error = self.wrong(&format!("no table `{name}` refers to it"));
                let known: Vec<&str> = schema
                    .context
                    .joins
                    .iter()
                    .filter(|join| join.to == root)
                    .map(|join| join.from.name.as_str())
                    .collect();
                return Err(match did_you_mean(name, known) {
                    Some(hint) => error.hint(hint),
                    None => error.hint("name the join in analysis.joins"),
                });
            }
            [..] => {
                return Err(self
                    .wrong(&format!("several columns of `{name}` refer to it"))
                    .hint("say which one with `via`"));
            }
        };
        let missing = || self.wrong(&format!("the table `{name}` is left out"));
        let child = schema.table(&join.from).ok_or_else(missing)?;
        let key = child.key(schema.context.dialect).ok_or_else(|| {
            self.wrong(&format!(
                "`{name}` has no key, so that its rows have no order"
            ))
            .hint("name the columns that identify its rows in analysis.keys")
        })?;
        let mut parents: Vec<ParentJoin> = Vec::new();
        let mut columns = Vec::new();
        for column in &section.columns {
            columns.push(self.cell(child, &mut parents, column)?);
        }
        self.sections.push(Section::Children {
            label: section
                .label
                .clone()
                .unwrap_or_else(|| humanized(&join.from.name)),
            table: join.from.clone(),
            on: pairs(join),
            parents,
            columns,
            order_by: key,
            reasons: vec![REASON.to_owned()],
        });
        Ok(())
    }

    /// A value of a child row: its own, or one of a table that it refers to.
    fn cell(
        &mut self,
        child: &'a Table<'a>,
        parents: &mut Vec<ParentJoin>,
        name: &str,
    ) -> Result<FieldSource> {
        if let Some(column) = find(child, name) {
            self.allowed(column)?;
            return Ok(source("c", column));
        }
        let Some((table, column)) = name.rsplit_once('.') else {
            return Err(self.no_column(child, name));
        };
        let schema = self.schema;
        let joins: Vec<&'a Join> = schema
            .joins_from(&child.profile.table)
            .filter(|join| is_called(&join.to, table))
            .collect();
        let [join] = joins.as_slice() else {
            let how = if joins.is_empty() {
                "does not refer"
            } else {
                "refers in several ways"
            };
            return Err(self
                .wrong(&format!("`{}` {how} to `{table}`", child.profile.table))
                .hint(
                    "name the join in analysis.joins, or drop the others with analysis.drop_joins",
                ));
        };
        let to = schema
            .table(&join.to)
            .ok_or_else(|| self.wrong(&format!("the table `{table}` is left out")))?;
        let found = find(to, column).ok_or_else(|| self.no_column(to, column))?;
        self.allowed(found)?;
        if let Some(parent) = parents.iter().find(|parent| parent.table == join.to) {
            return Ok(source(&parent.alias, found));
        }
        let alias = self.alias();
        parents.push(parent_join(&alias, "c", join, to));
        Ok(source(&alias, found))
    }

    /// Takes away the parents that neither a section nor the metadata needs.
    pub(super) fn drop_unused_parents(&mut self) {
        let fields = self.sections.iter().filter_map(|section| match section {
            Section::Field { source, .. } => Some(source),
            Section::Children { .. } => None,
        });
        let mut used: Vec<String> = fields
            .chain(self.metadata.iter().map(|field| &field.source))
            .map(|source| source.alias.clone())
            .collect();
        // A parent stands behind the one that it hangs on.
        for parent in self.parents.iter().rev() {
            if used.contains(&parent.alias) {
                used.push(parent.left.clone());
            }
        }
        self.parents.retain(|parent| used.contains(&parent.alias));
    }
}

fn find<'t, 'a>(table: &'t Table<'a>, name: &str) -> Option<&'t Assessed<'a>> {
    table
        .columns
        .iter()
        .find(|column| column.column.name == name)
}

fn is_called(table: &TableRef, name: &str) -> bool {
    table.name == name || table.to_string() == name
}

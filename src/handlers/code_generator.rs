//! `code_generator`: the plan and the advice become `migrate.py`, and `service.py` where it is wanted.
//!
//! Nothing from a database reaches a generated file but through [`inert`], which is inert text.

mod parts;
mod script;

use std::fmt::Write as _;

use serde::Serialize;

use crate::graph::context::Context;
use crate::graph::event::LogLevel;
use crate::graph::handler::{HandlerError, NoParams, NodeHandler, ParamError};
use crate::model::advice::{self, LlmAdvice};
use crate::model::generated::GeneratedCode;
use crate::model::job::Runtime;
use crate::model::plan::MigrationPlan;
use script::ScriptPlan;

const SERVICE: &str = include_str!("../../templates/service.py");

/// Writes the standalone migration.
#[derive(Debug)]
pub struct CodeGenerator;

impl NodeHandler for CodeGenerator {
    const NAME: &'static str = "code_generator";
    const SUMMARY: &'static str = "writes migrate.py and service.py from the plan";
    const FOR_PEOPLE: bool = true;
    type Params = NoParams;
    type Input = (MigrationPlan, Option<LlmAdvice>);
    type Output = GeneratedCode;

    fn new(_: NoParams) -> Result<Self, ParamError> {
        Ok(Self)
    }

    async fn run(
        &self,
        (mut plan, advice): Self::Input,
        ctx: &Context,
    ) -> Result<GeneratedCode, HandlerError> {
        if let Some(advice) = &advice {
            for ignored in advice::apply(&mut plan, &advice.entities) {
                ctx.log(LogLevel::Warn, ignored);
            }
        }
        let script = script_of(&plan)?;
        let mut files = vec![ctx.write_artifact("migrate.py", script.as_bytes())?];
        if plan.runtime == Runtime::Fastapi {
            files.push(ctx.write_artifact("service.py", SERVICE.as_bytes())?);
        }
        let block = inert(&plan)?;
        files.push(ctx.write_artifact("plan.json", format!("{block}\n").as_bytes())?);
        Ok(GeneratedCode {
            runtime: plan.runtime,
            embedding: plan.embedding.clone(),
            entities: plan
                .entities
                .iter()
                .map(|entity| entity.name.clone())
                .collect(),
            files,
            plan,
        })
    }
}

/// Gives `migrate.py` for a plan.
///
/// # Errors
/// The plan cannot be written as JSON, or the script's parts are not in this program.
pub fn script_of(plan: &MigrationPlan) -> Result<String, HandlerError> {
    let script = ScriptPlan::of(plan);
    let (dialect, provider) = script.needs();
    render(&parts::template(dialect, provider)?, &inert(&script)?)
}

/// Gives a plan as JSON that is inert in a Python raw string between `'''`: ASCII only, without `'` and without a
/// control character but the line feeds between its lines.
///
/// # Errors
/// The plan cannot be written as JSON (a score that is not finite).
fn inert(plan: &impl Serialize) -> Result<String, HandlerError> {
    let json = serde_json::to_string_pretty(plan).map_err(|error| {
        HandlerError::permanent(format!("the plan cannot be written as JSON: {error}"))
    })?;
    let mut block = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || (' '..='~').contains(&c) && c != '\'' {
            block.push(c);
        } else {
            // Such a character stands inside a JSON string, the only place where JSON allows it.
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a String cannot fail.
                let _ = write!(block, "\\u{unit:04x}");
            }
        }
    }
    Ok(block)
}

fn render(template: &str, block: &str) -> Result<String, HandlerError> {
    let mut context = tera::Context::new();
    context.insert("plan", block);
    tera::Tera::one_off(template, &context, false)
        .map_err(|error| HandlerError::permanent(format!("migrate.py cannot be rendered: {error}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::graph::context::{RunEnvironment, Secrets};
    use crate::graph::event::Artifact;
    use crate::handlers::infra_generator::InfraGenerator;
    use crate::model::advice::{AdviceOrigin, AdvisedPart, EntityAdvice};
    use crate::model::job::JobInput;

    /// Names that would do harm if one of them became code, a comment or a template.
    const HOSTILE: &[&str] = &[
        "x\"; import os #",
        "'''",
        "\"\"\"",
        "\\",
        "a\rb\nc\u{2028}d\u{0}e\u{7f}f\u{85}",
        "{{7*7}}{% raw %}{# x",
        "coding: utf-7",
        "%s 100% {0} $(id)",
        "\u{202e}\u{1f600}é",
        "\\u0027\\N{DIGIT ONE}",
    ];

    fn plan(name: &str) -> MigrationPlan {
        let field = |column: &str| json!({"alias": "r", "column": column, "data_type": "text"});
        let section = |column: &str| json!({"section": "field", "label": column, "source": field(column), "score": 0.5, "reasons": [name]});
        serde_json::from_value(json!({
            "version": 1, "dialect": "sqlite", "database": name,
            "target": {"schema": "public", "table": "relvec_documents"},
            "embedding": {
                "provider": "relvec", "base_url": "http://127.0.0.1:1/v1", "model": "relvec-hashed", "dimensions": null,
                "api_key_env": null, "batch_items": 1, "batch_tokens": 1, "concurrency": 1, "chunk_tokens": 1
            },
            "runtime": "script",
            "entities": [{
                "name": name, "root": {"schema": null, "name": name}, "key": [{"name": name, "data_type": "text"}],
                "row_count": 1, "parents": [], "sections": [section("a"), section(name), section("c")],
                "metadata": [{"name": name, "source": field(name)}], "reasons": [name]
            }],
            "left_out": [{"table": {"schema": null, "name": name}, "reason": name}], "ranking": [],
            "estimate": {"documents": 1, "chunks": 1, "tokens": 1, "requests": 1}
        }))
        .expect("the plan has its type's shape")
    }

    fn around_the_block(script: &str) -> (String, String, String) {
        let start = script.find("PLAN_JSON = r'''").expect("the block begins") + 16;
        let end = start + script[start..].find("'''").expect("the block ends");
        (
            script[..start].to_owned(),
            script[start..end].to_owned(),
            script[end..].to_owned(),
        )
    }

    #[test]
    fn hostile_names_change_nothing_outside_the_block() {
        let script = |plan: &MigrationPlan| script_of(plan).expect("the script is written");
        let (benign_before, _, benign_after) = around_the_block(&script(&plan("orders")));
        assert!(benign_before.starts_with("# -*- coding: utf-8 -*-\n"));
        for name in HOSTILE {
            let plan = plan(name);
            let (before, block, after) = around_the_block(&script(&plan));
            assert_eq!(
                (before, after),
                (benign_before.clone(), benign_after.clone()),
                "{name:?}"
            );
            assert!(
                block
                    .bytes()
                    .all(|b| b == b'\n' || (b' '..=b'~').contains(&b)),
                "{name:?}"
            );
            let read: serde_json::Value = serde_json::from_str(&block).expect("the block is JSON");
            assert_eq!(read, json!(ScriptPlan::of(&plan)), "{name:?}");
            assert_eq!(read["entities"][0]["name"], *name, "{name:?}");
        }
    }

    #[tokio::test]
    async fn the_files_are_written_and_listed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (events, _received) = tokio::sync::mpsc::unbounded_channel();
        let environment = RunEnvironment {
            run_id: uuid::Uuid::nil(),
            secrets: Secrets::default(),
            answers: BTreeMap::new(),
            artifacts: folder.path().to_owned(),
            cache: folder.path().to_owned(),
            allowed: crate::allowed::Allowed::everything(),
            cancel: CancellationToken::new(),
        };
        let ctx = Context::new(
            "code_generator".into(),
            1,
            None,
            CancellationToken::new(),
            Arc::new(environment),
            Arc::default(),
            events,
        );
        let names = |files: &[Artifact]| -> Vec<String> {
            files.iter().map(|file| file.name.clone()).collect()
        };

        let mut given = plan("orders");
        given.runtime = Runtime::Fastapi;
        let code = CodeGenerator
            .run((given.clone(), Some(advice("orders", 2))), &ctx)
            .await
            .expect("the code is written");
        assert_eq!(
            names(&code.files),
            ["migrate.py", "service.py", "plan.json"]
        );
        assert_eq!(
            code.plan.entities[0].sections,
            [given.entities[0].sections[2].clone()]
        );
        let written = std::fs::read_to_string(folder.path().join("plan.json")).expect("plan.json");
        let script = std::fs::read_to_string(folder.path().join("migrate.py")).expect("migrate.py");
        assert_eq!(
            script,
            script_of(&code.plan).expect("the script is written")
        );
        assert_eq!(
            serde_json::from_str::<MigrationPlan>(&written).expect("JSON"),
            code.plan
        );

        let infra = InfraGenerator
            .run((job(), code), &ctx)
            .await
            .expect("the files are written");
        assert_eq!(
            names(&infra.files),
            [
                "Dockerfile",
                "requirements.txt",
                ".dockerignore",
                "compose.yaml"
            ]
        );
        assert_eq!(infra.requirements_sha256, infra.files[1].sha256);
    }

    fn job() -> JobInput {
        serde_json::from_value(json!({"source": {"url": "sqlite:shop.db"}})).expect("a job")
    }

    fn advice(entity: &str, section: u32) -> LlmAdvice {
        LlmAdvice {
            origin: AdviceOrigin::Model,
            reason: None,
            model: "m".to_owned(),
            tokens: None,
            entities: vec![EntityAdvice {
                entity: entity.to_owned(),
                parts: vec![AdvisedPart::Kept {
                    section,
                    label: None,
                }],
                joins: Vec::new(),
                filter: Vec::new(),
            }],
            changes: Vec::new(),
            dropped: Vec::new(),
        }
    }
}

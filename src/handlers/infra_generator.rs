//! `infra_generator`: what runs the generated script: `Dockerfile`, `requirements.txt`, `.dockerignore`, `compose.yaml`.
//!
//! The files depend on the runtime, the provider and the sort of source only; nothing from a database is in them.

use crate::graph::context::Context;
use crate::graph::handler::{HandlerError, NoParams, NodeHandler, ParamError};
use crate::model::generated::{GeneratedCode, GeneratedInfra};
use crate::model::job::{EmbeddingProvider, Runtime};
use crate::model::metadata::Dialect;

const DOCKERFILE: &str = include_str!("../../templates/Dockerfile");
const DOCKERIGNORE: &str = include_str!("../../templates/dockerignore");
const COMPOSE: &str = include_str!("../../templates/compose.yaml");
const COMPOSE_SERVICE: &str = include_str!("../../templates/compose-service.yaml");

/// Writes the files around the script.
#[derive(Debug)]
pub struct InfraGenerator;

impl NodeHandler for InfraGenerator {
    const NAME: &'static str = "infra_generator";
    const SUMMARY: &'static str = "writes Dockerfile, requirements.txt and compose.yaml";
    const FOR_PEOPLE: bool = true;
    type Params = NoParams;
    type Input = GeneratedCode;
    type Output = GeneratedInfra;

    fn new(_: NoParams) -> Result<Self, ParamError> {
        Ok(Self)
    }

    async fn run(
        &self,
        code: GeneratedCode,
        ctx: &Context,
    ) -> Result<GeneratedInfra, HandlerError> {
        let requirements = requirements(code.runtime, code.embedding.provider, code.plan.dialect);
        let requirements = ctx.write_artifact("requirements.txt", requirements.as_bytes())?;
        let files = vec![
            ctx.write_artifact("Dockerfile", dockerfile(code.runtime)?.as_bytes())?,
            requirements.clone(),
            ctx.write_artifact(".dockerignore", DOCKERIGNORE.as_bytes())?,
            ctx.write_artifact("compose.yaml", compose(code.runtime)?.as_bytes())?,
        ];
        Ok(GeneratedInfra {
            files,
            requirements_sha256: requirements.sha256,
        })
    }
}

/// Gives the pinned and hashed dependencies for a runtime, a provider and a source.
#[must_use]
pub fn requirements(runtime: Runtime, provider: EmbeddingProvider, source: Dialect) -> String {
    let driver = match source {
        // Python has SQLite's driver, and the target needs PostgreSQL's anyway.
        Dialect::Sqlite | Dialect::Postgres => "",
        Dialect::Mysql => include_str!("../../templates/requirements-mysql.txt"),
    };
    let base = match (runtime, provider) {
        (Runtime::Script, EmbeddingProvider::Local) => {
            include_str!("../../templates/requirements-script-local.txt")
        }
        (Runtime::Fastapi, EmbeddingProvider::Local) => {
            include_str!("../../templates/requirements-fastapi-local.txt")
        }
        (
            Runtime::Script,
            EmbeddingProvider::Relvec | EmbeddingProvider::Openai | EmbeddingProvider::Gemini,
        ) => include_str!("../../templates/requirements-script.txt"),
        (
            Runtime::Fastapi,
            EmbeddingProvider::Relvec | EmbeddingProvider::Openai | EmbeddingProvider::Gemini,
        ) => include_str!("../../templates/requirements-fastapi.txt"),
    };
    [base, driver].concat()
}

fn dockerfile(runtime: Runtime) -> Result<String, HandlerError> {
    let (files, command) = match runtime {
        Runtime::Script => ("migrate.py", r#"["python", "migrate.py"]"#),
        Runtime::Fastapi => (
            "migrate.py service.py",
            r#"["uvicorn", "service:app", "--host", "0.0.0.0", "--port", "8000"]"#,
        ),
    };
    render(
        "Dockerfile",
        DOCKERFILE,
        &[("files", files), ("command", command)],
    )
}

fn compose(runtime: Runtime) -> Result<String, HandlerError> {
    let service = match runtime {
        Runtime::Script => "",
        Runtime::Fastapi => COMPOSE_SERVICE,
    };
    render("compose.yaml", COMPOSE, &[("service", service)])
}

fn render(name: &str, template: &str, values: &[(&str, &str)]) -> Result<String, HandlerError> {
    let mut context = tera::Context::new();
    for (key, value) in values {
        context.insert((*key).to_owned(), value);
    }
    tera::Tera::one_off(template, &context, false)
        .map_err(|error| HandlerError::permanent(format!("{name} cannot be rendered: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_is_pinned_and_hashed() {
        for runtime in [Runtime::Script, Runtime::Fastapi] {
            for provider in [EmbeddingProvider::Relvec, EmbeddingProvider::Local] {
                let text = requirements(runtime, provider, Dialect::Mysql).replace("\\\n", " ");
                assert!(text.contains("psycopg-binary==") && text.contains("pymysql=="));
                for line in text.lines() {
                    assert!(
                        line.contains("==") && line.contains("--hash=sha256:"),
                        "{line}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_image_holds_what_the_runtime_needs() {
        let script = dockerfile(Runtime::Script).expect("renders");
        assert!(script.contains("\nCOPY migrate.py ./\n"), "{script}");
        assert!(script.contains("\nUSER 65532:65532\n"), "{script}");
        let service = dockerfile(Runtime::Fastapi).expect("renders");
        assert!(
            service.contains("\nCOPY migrate.py service.py ./\n"),
            "{service}"
        );
        assert!(
            compose(Runtime::Fastapi)
                .expect("renders")
                .contains("\n  service:\n")
        );
        assert!(
            !compose(Runtime::Script)
                .expect("renders")
                .contains("\n  service:\n")
        );
    }
}

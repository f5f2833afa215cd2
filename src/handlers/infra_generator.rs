//! `infra_generator`: what runs the generated script: `Dockerfile`, `requirements.txt`, `.dockerignore`, `compose.yaml`.
//!
//! The files depend on the runtime, the provider and the sort of source only; nothing from a database is in them.

use crate::graph::context::Context;
use crate::graph::handler::{HandlerError, NoParams, NodeHandler, ParamError};
use crate::model::generated::{GeneratedCode, GeneratedInfra};
use crate::model::job::{EmbeddingProvider, ExecutionSpec, JobInput, Runtime};
use crate::model::metadata::Dialect;

const DOCKERFILE: &str = include_str!("../../templates/Dockerfile");
const DOCKERIGNORE: &str = include_str!("../../templates/dockerignore");
const COMPOSE: &str = include_str!("../../templates/compose.yaml");
/// What images are built on where the job does not say.
const BASE_IMAGE: &str = "python:3.11-slim";

/// A migration ends by itself, and its exit code says how it went; a service is asked.
const NO_HEALTHCHECK: &str =
    "# The migration ends by itself, and its exit code says how it went.\nHEALTHCHECK NONE";
const SERVICE_HEALTHCHECK: &str = r#"HEALTHCHECK --interval=30s --timeout=15s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=12)"]"#;

/// Where sentence-transformers keeps a model that it has fetched.
const MODELS: &str = "\
# The model is fetched once, into a volume.
ENV HF_HOME=/models
RUN install -d -o 65532 -g 65532 /models
";

const COMPOSE_SOURCE_FOLDER: &str = "    - \"${SOURCE_FOLDER:?set SOURCE_FOLDER to the folder of the SQLite file; it is /source inside}:/source:ro\"\n";
const COMPOSE_MODELS: &str = "    - models:/models\n";

const COMPOSE_SERVICE: &str = include_str!("../../templates/compose-service.yaml");

/// Writes the files around the script.
#[derive(Debug)]
pub struct InfraGenerator;

impl NodeHandler for InfraGenerator {
    const NAME: &'static str = "infra_generator";
    const SUMMARY: &'static str = "writes Dockerfile, requirements.txt and compose.yaml";
    const FOR_PEOPLE: bool = true;
    type Params = NoParams;
    type Input = (JobInput, GeneratedCode);
    type Output = GeneratedInfra;

    fn new(_: NoParams) -> Result<Self, ParamError> {
        Ok(Self)
    }

    async fn run(
        &self,
        (job, code): Self::Input,
        ctx: &Context,
    ) -> Result<GeneratedInfra, HandlerError> {
        let (provider, dialect) = (code.embedding.provider, code.plan.dialect);
        let base = Base::of(&job.execution);
        let requirements = requirements(code.runtime, provider, dialect);
        let dockerfile = dockerfile(&base, code.runtime, provider)?;
        let compose = compose(&base, code.runtime, provider, dialect)?;
        let requirements = ctx.write_artifact("requirements.txt", requirements.as_bytes())?;
        let files = vec![
            ctx.write_artifact("Dockerfile", dockerfile.as_bytes())?,
            requirements.clone(),
            ctx.write_artifact(".dockerignore", DOCKERIGNORE.as_bytes())?,
            ctx.write_artifact("compose.yaml", compose.as_bytes())?,
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

/// Gives the image that a job's image is built on, with its digest where that is pinned.
#[must_use]
pub fn base_image(execution: &ExecutionSpec) -> String {
    let base = Base::of(execution);
    format!("{}{}", base.image, base.digest)
}

/// What images are built on.
struct Base<'j> {
    image: &'j str,
    /// With its `@`, or nothing.
    digest: String,
}

impl<'j> Base<'j> {
    fn of(execution: &'j ExecutionSpec) -> Self {
        let digest = execution.base_digest.as_ref();
        Self {
            image: execution.base_image.as_deref().unwrap_or(BASE_IMAGE),
            digest: digest.map_or_else(String::new, |digest| format!("@{digest}")),
        }
    }
}

fn dockerfile(
    base: &Base<'_>,
    runtime: Runtime,
    provider: EmbeddingProvider,
) -> Result<String, HandlerError> {
    let (files, command, healthcheck) = match runtime {
        Runtime::Script => ("migrate.py", r#"["python", "migrate.py"]"#, NO_HEALTHCHECK),
        Runtime::Fastapi => (
            "migrate.py service.py",
            r#"["python", "-m", "uvicorn", "service:app", "--host", "0.0.0.0", "--port", "8000"]"#,
            SERVICE_HEALTHCHECK,
        ),
    };
    let values = [
        ("base_image", base.image),
        ("base_digest", &base.digest),
        ("models", if is_local(provider) { MODELS } else { "" }),
        ("files", files),
        ("healthcheck", healthcheck),
        ("command", command),
    ];
    render("Dockerfile", DOCKERFILE, &values)
}

fn compose(
    base: &Base<'_>,
    runtime: Runtime,
    provider: EmbeddingProvider,
    source: Dialect,
) -> Result<String, HandlerError> {
    let service = match runtime {
        Runtime::Script => "",
        Runtime::Fastapi => COMPOSE_SERVICE,
    };
    let mounted_source = match source {
        Dialect::Sqlite => COMPOSE_SOURCE_FOLDER,
        Dialect::Postgres | Dialect::Mysql => "",
    };
    let mounted_models = if is_local(provider) {
        COMPOSE_MODELS
    } else {
        ""
    };
    let mut volumes = [mounted_source, mounted_models].concat();
    if !volumes.is_empty() {
        volumes.insert_str(0, "  volumes:\n");
    }
    let values = [
        ("base_image", base.image),
        ("base_digest", &base.digest),
        ("volumes", &volumes),
        ("service", service),
        (
            "named",
            if is_local(provider) {
                "  models:\n"
            } else {
                ""
            },
        ),
    ];
    render("compose.yaml", COMPOSE, &values)
}

fn is_local(provider: EmbeddingProvider) -> bool {
    match provider {
        EmbeddingProvider::Local => true,
        EmbeddingProvider::Relvec | EmbeddingProvider::Openai | EmbeddingProvider::Gemini => false,
    }
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
        let execution = ExecutionSpec::default();
        let base = Base::of(&execution);
        let of = |runtime| dockerfile(&base, runtime, EmbeddingProvider::Relvec).expect("renders");
        let script = of(Runtime::Script);
        assert!(
            script.contains("\nARG BASE_IMAGE=python:3.11-slim\nARG BASE_DIGEST=\n"),
            "{script}"
        );
        assert!(script.contains("\nCOPY migrate.py ./\n"), "{script}");
        assert!(script.contains("\nUSER 65532:65532\n"), "{script}");
        assert!(script.contains("\nHEALTHCHECK NONE\n"), "{script}");
        let service = of(Runtime::Fastapi);
        assert!(
            service.contains("\nCOPY migrate.py service.py ./\n"),
            "{service}"
        );
        assert!(service.contains("/health"), "{service}");
        let local = dockerfile(&base, Runtime::Script, EmbeddingProvider::Local).expect("renders");
        assert!(local.contains("\nENV HF_HOME=/models\n"), "{local}");
    }

    #[test]
    fn the_composition_has_the_service_and_the_volumes_that_are_needed() {
        let execution = ExecutionSpec::default();
        let base = Base::of(&execution);
        for (runtime, provider, source) in [
            (
                Runtime::Fastapi,
                EmbeddingProvider::Relvec,
                Dialect::Postgres,
            ),
            (Runtime::Script, EmbeddingProvider::Local, Dialect::Sqlite),
        ] {
            let text = compose(&base, runtime, provider, source).expect("renders");
            assert_eq!(
                text.contains("\n  service:\n"),
                runtime == Runtime::Fastapi,
                "{text}"
            );
            assert_eq!(
                text.contains("models:/models"),
                is_local(provider),
                "{text}"
            );
            assert_eq!(
                text.contains("}:/source:ro"),
                source == Dialect::Sqlite,
                "{text}"
            );
        }
    }

    #[test]
    fn the_job_says_what_images_are_built_on() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let execution = ExecutionSpec {
            base_image: Some("registry.example:5000/python:3.13-slim".to_owned()),
            base_digest: Some(digest.clone()),
            ..ExecutionSpec::default()
        };
        let base = Base::of(&execution);
        let text = dockerfile(&base, Runtime::Script, EmbeddingProvider::Relvec).expect("renders");
        let lines = format!(
            "ARG BASE_IMAGE=registry.example:5000/python:3.13-slim\nARG BASE_DIGEST=@{digest}\n"
        );
        assert!(text.contains(&lines), "{text}");
        let text = compose(
            &base,
            Runtime::Script,
            EmbeddingProvider::Relvec,
            Dialect::Mysql,
        )
        .expect("renders");
        assert!(
            text.contains(&format!("${{BASE_DIGEST:-@{digest}}}")),
            "{text}"
        );
    }
}

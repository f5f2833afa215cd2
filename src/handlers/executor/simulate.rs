//! Nothing written: the code is compiled, requirements and Dockerfile are checked, the source is read by `--dry-run`.

use std::path::PathBuf;

use super::environment::Environment;
use super::process::{Prepared, script_command, virtual_environment};
use crate::graph::context::Context;
use crate::graph::handler::HandlerError;
use crate::model::generated::{GeneratedCode, GeneratedInfra};
use crate::service::python;
use crate::settings;

/// Checks everything that was generated and prepares the dry run.
pub(super) async fn prepare(
    code: &GeneratedCode,
    infra: &GeneratedInfra,
    ctx: &Context,
) -> Result<Prepared, HandlerError> {
    python::compiles(&settings::python(), &sources(code, ctx)).await?;
    let path = ctx.artifacts().join("Dockerfile");
    let dockerfile = std::fs::read_to_string(&path).map_err(|error| {
        HandlerError::permanent(format!("cannot read {}: {error}", path.display()))
    })?;
    let names: Vec<&str> = code
        .files
        .iter()
        .chain(&infra.files)
        .map(|file| file.name.as_str())
        .collect();
    check_dockerfile(&dockerfile, &names).map_err(|wrong| {
        HandlerError::permanent(format!("{}: {wrong}: run the job again", path.display()))
    })?;
    let mut environment = Environment::of_source(ctx).await?;
    environment.pin();
    let venv = virtual_environment(infra, ctx).await?;
    let mut command = script_command(&venv, ctx, &environment);
    command.arg("--dry-run");
    Ok(Prepared {
        command,
        environment,
    })
}

fn sources(code: &GeneratedCode, ctx: &Context) -> Vec<PathBuf> {
    let files = code
        .files
        .iter()
        .map(|file| ctx.artifacts().join(&file.name));
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .collect()
}

/// Checks what a build would stumble over: a base, files that are not there, a program that would run as root.
fn check_dockerfile(text: &str, names: &[&str]) -> Result<(), String> {
    let (mut has_base, mut user) = (false, None);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("FROM") => {
                has_base = true;
                user = None;
            }
            Some("USER") => user = words.next(),
            Some("COPY") => {
                let words: Vec<&str> = words.collect();
                if words.first().is_some_and(|word| word.starts_with("--from")) {
                    continue;
                }
                let (_, files) = words.split_last().ok_or("a COPY names nothing")?;
                if let Some(missing) = files.iter().find(|file| !names.contains(*file)) {
                    return Err(format!("it copies `{missing}`, which was not generated"));
                }
            }
            Some(_) | None => {}
        }
    }
    match user {
        _ if !has_base => Err("it names no base image".to_owned()),
        None | Some("root" | "0") => Err("its program would run as root".to_owned()),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dockerfile_that_cannot_be_built_is_told_from_one_that_can() {
        let names = ["migrate.py", "requirements.txt"];
        let good = "FROM a AS b\nCOPY requirements.txt /\nFROM a\nCOPY --from=b /venv /venv\nCOPY migrate.py ./\nUSER 65532:65532\n";
        assert_eq!(check_dockerfile(good, &names), Ok(()));
        let wrong = |text: &str| check_dockerfile(text, &names).unwrap_err();
        assert!(wrong(&good.replace("migrate.py", "service.py")).contains("`service.py`"));
        assert!(wrong(&good.replace("USER 65532:65532", "")).contains("as root"));
        assert!(wrong(&good.replace("65532:65532", "root")).contains("as root"));
        assert!(wrong("COPY migrate.py ./\nUSER 1\n").contains("no base image"));
    }
}

//! `migrate.py` is put together of parts. `templates/migrate/parts.json` lists them in the order of the script, each with
//! the dialects and providers that need it, so that nobody reviews code that their plan does not use.

use include_dir::{Dir, include_dir};
use serde::Deserialize;

use crate::graph::handler::HandlerError;
use crate::model::job::EmbeddingProvider;
use crate::model::metadata::Dialect;

static FOLDER: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates/migrate");
const LIST: &str = "parts.json";

/// One part: a file beside the list, or a few lines of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    file: Option<String>,
    #[serde(default)]
    lines: Vec<String>,
    /// Only for these; for all if absent.
    dialects: Option<Vec<Dialect>>,
    /// Only for these; for all if absent.
    providers: Option<Vec<EmbeddingProvider>>,
}

impl Part {
    fn is_for(&self, dialect: Dialect, provider: EmbeddingProvider) -> bool {
        let dialects = self.dialects.as_ref();
        let providers = self.providers.as_ref();
        dialects.is_none_or(|only| only.contains(&dialect))
            && providers.is_none_or(|only| only.contains(&provider))
    }
}

/// Gives the template of `migrate.py` for a dialect and a provider.
///
/// # Errors
/// The list of parts cannot be read, or names a file that is not there; a test keeps both from happening.
pub(super) fn template(
    dialect: Dialect,
    provider: EmbeddingProvider,
) -> Result<String, HandlerError> {
    let mut template = String::new();
    for part in list()? {
        if !part.is_for(dialect, provider) {
            continue;
        }
        if let Some(file) = &part.file {
            template.push_str(text(file)?);
        }
        for line in &part.lines {
            template.push_str(line);
            template.push('\n');
        }
    }
    Ok(template)
}

fn list() -> Result<Vec<Part>, HandlerError> {
    serde_json::from_str(text(LIST)?).map_err(|error| {
        HandlerError::permanent(format!("templates/migrate/{LIST} cannot be read: {error}"))
    })
}

fn text(file: &str) -> Result<&'static str, HandlerError> {
    FOLDER
        .get_file(file)
        .and_then(include_dir::File::contents_utf8)
        .ok_or_else(|| {
            HandlerError::permanent(format!("templates/migrate/{file} is not in this program"))
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const DIALECTS: [Dialect; 3] = [Dialect::Sqlite, Dialect::Postgres, Dialect::Mysql];
    const PROVIDERS: [EmbeddingProvider; 4] = [
        EmbeddingProvider::Relvec,
        EmbeddingProvider::Openai,
        EmbeddingProvider::Gemini,
        EmbeddingProvider::Local,
    ];

    #[test]
    fn a_template_holds_one_value_and_no_part_of_another_plan() {
        for dialect in DIALECTS {
            for provider in PROVIDERS {
                let template = template(dialect, provider).expect("the parts are there");
                assert_eq!(
                    template.matches("{{").count(),
                    1,
                    "{dialect:?} {provider:?}"
                );
                assert!(!template.contains("{%") && !template.contains("{#"));
                let has = |code: &str| template.contains(code);
                assert_eq!(has("sqlite3"), dialect == Dialect::Sqlite);
                assert_eq!(has("SET datestyle"), dialect == Dialect::Postgres);
                assert_eq!(has("pymysql"), dialect == Dialect::Mysql);
                assert_eq!(
                    has("batchEmbedContents"),
                    provider == EmbeddingProvider::Gemini
                );
                assert_eq!(
                    has("sentence_transformers"),
                    provider == EmbeddingProvider::Local
                );
                assert_eq!(has("urllib3"), provider != EmbeddingProvider::Local);
                assert_eq!(template.matches("class Embedder(").count(), 1);
                assert_eq!(template.matches("\nclass Source:").count(), 1);
            }
        }
    }

    #[test]
    fn the_list_names_every_file_once() {
        let named: Vec<String> = list()
            .expect("the list is JSON")
            .into_iter()
            .filter_map(|part| part.file)
            .collect();
        let there: BTreeSet<String> = FOLDER
            .files()
            .map(|file| file.path().display().to_string())
            .filter(|name| name != LIST && name != "target.sql")
            .collect();
        assert_eq!(named.iter().cloned().collect::<BTreeSet<_>>(), there);
        assert_eq!(named.len(), there.len());
    }
}

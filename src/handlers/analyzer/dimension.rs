//! The dimension of a model that is not known here, as its API shows it with one vector.

use crate::error::{Error, ErrorKind, Result};
use crate::graph::context::Context;
use crate::model::job::secret;
use crate::model::plan::EmbeddingPlan;
use crate::service::embedding::EmbeddingApi;

/// The text that the script asks with, too.
const TEXT: &str = "relvec asks for the dimension";

/// Gives the length of the vectors of a plan's model.
///
/// # Errors
/// The API does not answer, refuses, or may not be asked from here; or the model runs in the script's own process.
pub(super) async fn ask(plan: &EmbeddingPlan, ctx: &Context) -> Result<u32> {
    let key = ctx.secret(secret::EMBEDDING_API_KEY).cloned();
    let Some(api) = EmbeddingApi::new(plan, key, ctx.allowed())? else {
        return Err(Error::new(
            ErrorKind::Unavailable,
            "it runs in the script's own process",
        ));
    };
    let vectors = api.embed(&[TEXT]).await?;
    let length = vectors.first().map_or(0, Vec::len);
    u32::try_from(length)
        .ok()
        .filter(|length| *length > 0)
        .ok_or_else(|| Error::new(ErrorKind::Invalid, "the API gives an empty vector"))
}

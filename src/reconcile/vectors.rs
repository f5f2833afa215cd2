//! What a sample says about the vectors: whether their texts still give them, and how much of what is nearest the index finds.
//!
//! 1. [`Exact`] sees every chunk that is compared, and keeps the nearest to a few of them.
//! 2. [`recall`] asks the index for the same.
//! 3. [`embed_again`] asks the embedding API for the vectors of a few texts.

use super::entity::{cosine, shown};
use crate::error::Result;
use crate::model::validation::{Check, VectorSample};
use crate::service::embedding::EmbeddingApi;
use crate::service::target::{SampledChunk, TableFacts, Target};

/// The least cosine between a stored vector and the one that the API gives for its text now.
const NEAR: f64 = 0.999;

/// Neighbours of each vector that are looked up.
const NEIGHBOURS: u32 = 10;

/// Chunks that a check names.
const NAMED: usize = 10;

/// The nearest chunks to a few vectors, found by looking at all of them.
#[derive(Debug, Default)]
pub(super) struct Exact {
    queries: Vec<Vec<f32>>,
    /// For each of them, distances in ascending order.
    nearest: Vec<Vec<f64>>,
}

impl Exact {
    /// Draws the vectors; none where the table has no index that could find less.
    pub(super) async fn draw(
        target: &mut Target,
        facts: Option<&TableFacts>,
        entities: &[String],
        count: u32,
    ) -> Result<Self> {
        if count == 0 || !facts.is_some_and(|facts| facts.index.is_some() && facts.dimensions > 0) {
            return Ok(Self::default());
        }
        let chunks = target.sample(entities, count).await?;
        let queries: Vec<Vec<f32>> = chunks
            .into_iter()
            .map(|chunk| chunk.vector)
            .filter(|vector| vector.iter().any(|number| *number != 0.0))
            .take(usize::try_from(count).unwrap_or(usize::MAX))
            .collect();
        Ok(Self {
            nearest: vec![Vec::new(); queries.len()],
            queries,
        })
    }

    /// Gives the vectors to which each document's distances are wanted.
    pub(super) fn queries(&self) -> &[Vec<f32>] {
        &self.queries
    }

    /// Takes the distances of a chunk.
    pub(super) fn see(&mut self, distances: &[Option<f64>]) {
        for (nearest, distance) in self.nearest.iter_mut().zip(distances) {
            let Some(distance) = distance.filter(|distance| distance.is_finite()) else {
                continue;
            };
            let place = nearest.partition_point(|other| *other <= distance);
            if place < NEIGHBOURS as usize {
                nearest.insert(place, distance);
                nearest.truncate(NEIGHBOURS as usize);
            }
        }
    }
}

/// Counts what the index finds of the exact neighbours; as near as the last of them counts, because equal vectors are interchangeable.
pub(super) async fn recall(
    target: &mut Target,
    facts: &TableFacts,
    exact: &Exact,
    sample: &mut VectorSample,
) -> Result<()> {
    let (mut wanted, mut found) = (0, 0);
    for (query, nearest) in exact.queries.iter().zip(&exact.nearest) {
        let Some(farthest) = nearest.last() else {
            continue;
        };
        let indexed = target.nearest(facts, query, NEIGHBOURS).await?;
        let as_near = indexed.iter().filter(|distance| *distance <= farthest);
        sample.recall_queries += 1;
        wanted += nearest.len();
        found += as_near.count().min(nearest.len());
    }
    #[expect(clippy::cast_precision_loss, reason = "at most ten a query")]
    if wanted > 0 {
        sample.recall = Some(found as f64 / wanted as f64);
    }
    Ok(())
}

/// Embeds the texts of a sample again, and says which of their vectors are far from what comes back; nothing where that cannot be told.
pub(super) async fn embed_again(
    api: &EmbeddingApi,
    chunks: &[SampledChunk],
    sample: &mut VectorSample,
) -> Option<Check> {
    match far(api, chunks).await {
        Ok(far) => {
            sample.embedded_again = chunks.len() as u64;
            sample.far = far.len() as u64;
            Some(judged(chunks.len(), &far))
        }
        Err(reason) => {
            sample.not_embedded = Some(reason);
            None
        }
    }
}

/// The chunks whose vectors are far from the API's; an error is the reason why nobody knows.
async fn far<'a>(
    api: &EmbeddingApi,
    chunks: &'a [SampledChunk],
) -> Result<Vec<&'a SampledChunk>, String> {
    let texts: Vec<&str> = chunks.iter().map(|chunk| chunk.content.as_str()).collect();
    let fresh = api.embed(&texts).await.map_err(|error| error.to_string())?;
    let pairs = chunks.iter().zip(fresh);
    let far: Vec<_> = pairs
        .filter(|(chunk, fresh)| !is_near(&chunk.vector, fresh))
        .collect();
    if far.is_empty() {
        return Ok(Vec::new());
    }
    // Only an API that gives the same vector for the same text says something about the stored one.
    let texts: Vec<&str> = far
        .iter()
        .map(|(chunk, _)| chunk.content.as_str())
        .collect();
    let again = api.embed(&texts).await.map_err(|error| error.to_string())?;
    let same = far.iter().zip(&again);
    if same
        .clone()
        .any(|((_, first), second)| !is_near(first, second))
    {
        return Err("the embedding API gives another vector each time".to_owned());
    }
    Ok(far.into_iter().map(|(chunk, _)| chunk).collect())
}

fn is_near(left: &[f32], right: &[f32]) -> bool {
    left.len() == right.len() && cosine(left, right) >= NEAR
}

fn judged(sampled: usize, far: &[&SampledChunk]) -> Check {
    let names: Vec<String> = far
        .iter()
        .take(NAMED)
        .map(|chunk| {
            format!(
                "`{}` {}",
                chunk.entity,
                shown(std::slice::from_ref(&chunk.key))
            )
        })
        .collect();
    Check {
        name: "embedded again".to_owned(),
        passed: far.is_empty(),
        detail: if far.is_empty() {
            format!("{sampled} chunks of a sample have the vectors that their texts give now")
        } else {
            format!(
                "{} of {sampled} chunks of a sample have a vector of another text or model (first {})",
                far.len(),
                names.join("; ")
            )
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_kept_in_order_and_what_is_no_distance_is_not() {
        let mut exact = Exact {
            queries: vec![vec![1.0], vec![2.0]],
            nearest: vec![Vec::new(); 2],
        };
        for number in (0..30).rev() {
            exact.see(&[Some(f64::from(number)), None]);
        }
        exact.see(&[Some(f64::NAN), Some(0.5)]);
        let first: Vec<f64> = (0..10).map(f64::from).collect();
        assert_eq!(exact.nearest, [first, vec![0.5]]);
    }
}

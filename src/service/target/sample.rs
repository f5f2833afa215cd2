//! A few chunks of a target, drawn over all of them, and what its index finds near to them.

use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use uuid::Uuid;

use super::{TableFacts, Target, unreadable};
use crate::error::Result;

/// A chunk with its vector.
#[derive(Debug, Clone, PartialEq)]
pub struct SampledChunk {
    /// Its id.
    pub id: Uuid,
    /// Its entity.
    pub entity: String,
    /// Its key, as JSON.
    pub key: String,
    /// Its text.
    pub content: String,
    /// Its vector.
    pub vector: Vec<f32>,
}

impl Target {
    /// Draws chunks of entities: all where there are not more, else about as many, spread evenly over the ids, which are hashes.
    /// Each call draws others.
    ///
    /// # Errors
    /// The target cannot be read.
    pub async fn sample(&mut self, entities: &[String], count: u32) -> Result<Vec<SampledChunk>> {
        let Self {
            table,
            vector,
            url,
            connection,
            ..
        } = self;
        let failed = |error| unreadable(url, &error);
        let sql = format!(
            "SELECT count(*) FROM (SELECT FROM {table} WHERE entity = ANY($1) LIMIT $2) AS few"
        );
        let some: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(entities)
            .bind(i64::from(count) + 1)
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        let columns =
            format!("id, entity, source_key::text, content, embedding::{vector}.vector::real[]");
        let wanted = "entity = ANY($1) AND embedding IS NOT NULL";
        let sql = if some <= i64::from(count) {
            format!(
                "SELECT {columns} FROM {table} WHERE {wanted} AND $2::uuid[] IS NOT NULL ORDER BY id"
            )
        } else {
            format!(
                "SELECT DISTINCT ON (c.id) c.* FROM unnest($2::uuid[]) AS p (lowest) CROSS JOIN LATERAL \
                 (SELECT {columns} FROM {table} WHERE {wanted} AND id >= p.lowest ORDER BY id LIMIT 1) AS c ORDER BY c.id"
            )
        };
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(entities)
            .bind(spread(count, Uuid::new_v4()))
            .fetch_all(connection)
            .await
            .map_err(failed)?;
        let chunks = rows.iter().map(|row| {
            Ok(SampledChunk {
                id: row.try_get(0)?,
                entity: row.try_get(1)?,
                key: row.try_get(2)?,
                content: row.try_get(3)?,
                vector: row.try_get(4)?,
            })
        });
        let chunks: Result<Vec<SampledChunk>, sqlx::Error> = chunks.collect();
        chunks.map_err(failed)
    }

    /// Gives the distances of the chunks that the index finds nearest to a vector, by cosine.
    ///
    /// # Errors
    /// The target cannot be read.
    pub async fn nearest(
        &mut self,
        facts: &TableFacts,
        query: &[f32],
        count: u32,
    ) -> Result<Vec<f64>> {
        let failed = |error| unreadable(&self.url, &error);
        // Without them the planner may read a small table whole, and the index would not be asked.
        self.connection
            .execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
            .await
            .map_err(failed)?;
        let distance = distance(&self.vector, facts, 1);
        let sql = format!(
            "SELECT {distance} FROM {} ORDER BY {distance} LIMIT {count}",
            self.table
        );
        let found = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(query)
            .fetch_all(&mut self.connection)
            .await
            .map_err(failed);
        self.connection
            .execute("SET LOCAL enable_seqscan = on; SET LOCAL enable_sort = on")
            .await
            .map_err(failed)?;
        found
    }
}

/// The cosine distance to a vector in the parameter of that number.
pub(super) fn distance(vector: &str, facts: &TableFacts, parameter: usize) -> String {
    let kind = &facts.vector_type;
    format!("(embedding OPERATOR({vector}.<=>) ${parameter}::real[]::{vector}.{kind})")
}

/// As many ids, as far from each other as they can be; `from` moves them.
fn spread(count: u32, from: Uuid) -> Vec<Uuid> {
    let step = u128::MAX / u128::from(count.max(1));
    let first = from.as_u128() % step;
    (0..count)
        .map(|number| Uuid::from_u128(first + step * u128::from(number)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_spread_over_all_of_them() {
        for from in [Uuid::nil(), Uuid::max(), Uuid::from_u128(7)] {
            let ids = spread(4, from);
            assert_eq!(ids.len(), 4);
            let quarter = u128::MAX / 4;
            for (number, id) in (0_u128..).zip(&ids) {
                assert_eq!(id.as_u128() / quarter, number, "{from}");
            }
        }
        assert_eq!(spread(1, Uuid::max()).len(), 1);
        assert!(spread(0, Uuid::max()).is_empty());
    }
}

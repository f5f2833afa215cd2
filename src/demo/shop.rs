//! The sample shop: a SQLite database that is the same, to the row, on every machine.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::words;
use crate::error::{Error, ErrorKind, Result};

const CUSTOMERS: u64 = 400;
const PRODUCTS: u64 = 180;
const ORDERS: u64 = 5_000;
const REVIEWS: u64 = 1_500;
const TICKETS: u64 = 800;

const SCHEMA: &str = include_str!("shop.sql");

/// Makes the shop's file unless it is there. Returns whether it was made.
///
/// # Errors
/// The folder or the file cannot be written.
pub async fn ensure(path: &Path) -> Result<bool> {
    if path.exists() {
        return Ok(false);
    }
    let part = path.with_extension("part");
    let failed = |error: sqlx::Error| {
        Error::new(
            ErrorKind::Failed,
            format!("cannot make the sample shop {}", path.display()),
        )
        .because(error)
        .hint("set RELVEC_HOME to a folder with room for 10 MB")
    };
    let disk = |error: std::io::Error| failed(sqlx::Error::Io(error));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(disk)?;
    }
    if part.exists() {
        std::fs::remove_file(&part).map_err(disk)?;
    }
    fill(&part).await.map_err(failed)?;
    std::fs::rename(&part, path).map_err(disk)?;
    Ok(true)
}

async fn fill(path: &Path) -> Result<(), sqlx::Error> {
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .connect()
        .await?;
    sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
    sqlx::raw_sql("BEGIN").execute(&mut connection).await?;
    let mut random = Random(0x5EED_0F5A_1E5D_0001);
    let products = products(&mut connection, &mut random).await?;
    customers(&mut connection, &mut random).await?;
    orders(&mut connection, &mut random, &products).await?;
    reviews(&mut connection, &mut random, &products).await?;
    tickets(&mut connection, &mut random, &products).await?;
    sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
    connection.close().await
}

/// What later rows have to know of a product.
struct Product {
    thing: &'static words::Thing,
    line: &'static words::Line,
    cents: u64,
}

async fn products(
    connection: &mut SqliteConnection,
    random: &mut Random,
) -> Result<Vec<Product>, sqlx::Error> {
    let mut products = Vec::new();
    for id in 1..=PRODUCTS {
        let line = random.pick(words::LINES);
        let thing = random.pick(line.things);
        let (noun, [first, second]) = (thing.noun, thing.uses);
        let material = random.pick(line.materials);
        let name = format!("{} {noun} No. {id}", random.pick(words::STYLES));
        let description = match random.below(3) {
            0 => format!("A {noun} made of {material} that {first}."),
            1 => format!("This {noun} {second}. Made of {material}."),
            _ => format!("A {noun} made of {material} that {first}. It also {second}."),
        };
        let cents = 900 + random.below(24_000);
        sqlx::query("INSERT INTO products VALUES (?, ?, ?, ?, ?, ?, ?)")
            .bind(signed(id))
            .bind(format!("SKU-{:05}", 10_000 + id * 7))
            .bind(name)
            .bind(line.category)
            .bind(description)
            .bind(money(cents))
            .bind(signed(random.below(200)))
            .execute(&mut *connection)
            .await?;
        products.push(Product { thing, line, cents });
    }
    Ok(products)
}

async fn customers(
    connection: &mut SqliteConnection,
    random: &mut Random,
) -> Result<(), sqlx::Error> {
    for id in 1..=CUSTOMERS {
        let (first, last) = (random.pick(words::FIRST), random.pick(words::LAST));
        let (city, country) = random.pick(words::CITIES);
        sqlx::query("INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?)")
            .bind(signed(id))
            .bind(format!("{first} {last}"))
            .bind(format!("{first}.{last}{id}@example.com").to_lowercase())
            .bind(city)
            .bind(country)
            .bind(day(random.below(900)))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn orders(
    connection: &mut SqliteConnection,
    random: &mut Random,
    products: &[Product],
) -> Result<(), sqlx::Error> {
    let mut line_id = 0;
    for id in 1..=ORDERS {
        let lines = 1 + random.below(4);
        let bought: Vec<u64> = (0..lines).map(|_| random.below(PRODUCTS)).collect();
        let first = &products[index(bought[0])];
        let notes = (random.below(100) < 85).then(|| {
            let text = note(random, first);
            if random.below(4) == 0 {
                return format!("{text} {}", note(random, first));
            }
            text
        });
        sqlx::query("INSERT INTO orders VALUES (?, ?, ?, ?, ?)")
            .bind(signed(id))
            .bind(signed(1 + random.below(CUSTOMERS)))
            .bind(*random.pick(&["paid", "shipped", "delivered", "returned", "cancelled"]))
            .bind(format!(
                "{} {:02}:{:02}:00",
                day(900 + id / 10),
                random.below(24),
                random.below(60)
            ))
            .bind(notes)
            .execute(&mut *connection)
            .await?;
        for product in bought {
            line_id += 1;
            sqlx::query("INSERT INTO order_lines VALUES (?, ?, ?, ?, ?)")
                .bind(line_id)
                .bind(signed(id))
                .bind(signed(product + 1))
                .bind(signed(1 + random.below(3)))
                .bind(money(products[index(product)].cents))
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

async fn reviews(
    connection: &mut SqliteConnection,
    random: &mut Random,
    products: &[Product],
) -> Result<(), sqlx::Error> {
    for id in 1..=REVIEWS {
        let product_id = random.below(PRODUCTS);
        let product = &products[index(product_id)];
        let stars = 1 + random.below(5);
        let title = *random.pick(words::OPINIONS[index(stars - 1)]);
        let body = if stars >= 3 {
            format!(
                "The {} {}. {}",
                product.thing.noun,
                random.pick(&product.thing.uses),
                random.pick(words::PRAISE)
            )
        } else {
            format!(
                "I was looking forward to this {}, but {}. {}",
                product.thing.noun,
                random.pick(product.line.faults),
                random.pick(words::BLAME)
            )
        };
        sqlx::query("INSERT INTO reviews VALUES (?, ?, ?, ?, ?, ?, ?)")
            .bind(signed(id))
            .bind(signed(product_id + 1))
            .bind(signed(1 + random.below(CUSTOMERS)))
            .bind(signed(stars))
            .bind(title.trim_end_matches('.'))
            .bind(body)
            .bind(day(900 + random.below(600)))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn tickets(
    connection: &mut SqliteConnection,
    random: &mut Random,
    products: &[Product],
) -> Result<(), sqlx::Error> {
    for id in 1..=TICKETS {
        let product = random.pick(products);
        let (subject, body) = *random.pick(words::REQUESTS);
        let body = format!(
            "{} {}",
            fill_in(random, body, product),
            random.pick(words::CLOSINGS)
        );
        let order = (random.below(3) > 0).then(|| signed(1 + random.below(ORDERS)));
        sqlx::query("INSERT INTO support_tickets VALUES (?, ?, ?, ?, ?, ?, ?)")
            .bind(signed(id))
            .bind(signed(1 + random.below(CUSTOMERS)))
            .bind(order)
            .bind(subject)
            .bind(body)
            .bind(*random.pick(&["open", "waiting", "closed"]))
            .bind(day(900 + random.below(600)))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

fn note(random: &mut Random, product: &Product) -> String {
    let template = *random.pick(words::NOTES);
    fill_in(random, template, product)
}

fn fill_in(random: &mut Random, template: &str, product: &Product) -> String {
    template
        .replace("{product}", product.thing.noun)
        .replace("{fault}", random.pick::<&str>(product.line.faults))
        .replace("{city}", random.pick(words::CITIES).0)
}

/// Gives a day, counted from 2021-01-01, as ISO 8601; every month has 28 days, which no row minds.
fn day(days: u64) -> String {
    format!(
        "{}-{:02}-{:02}",
        2021 + days / 336,
        1 + days / 28 % 12,
        1 + days % 28
    )
}

fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// `SplitMix64` (Steele, Lea, Flood 2014): the same numbers from the same seed, whatever a library's next version does.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[index(self.below(list.len() as u64))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_shop_is_the_same_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a.db", "b.db"].map(|name| folder.path().join(name));
        let mut sums = Vec::new();
        for path in &paths {
            assert!(ensure(path).await.unwrap());
            assert!(!ensure(path).await.unwrap());
            let mut connection = SqliteConnectOptions::new()
                .filename(path)
                .connect()
                .await
                .unwrap();
            let row: (i64, i64, String) = sqlx::query_as(
                "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_lines), \
                 (SELECT group_concat(body) FROM reviews)",
            )
            .fetch_one(&mut connection)
            .await
            .unwrap();
            sums.push(row);
        }
        assert_eq!(sums[0].0, 5_000);
        assert_eq!(sums[0], sums[1]);
    }
}

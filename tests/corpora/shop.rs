//! A web shop: plural tables in `snake_case`.

use super::generate::PEOPLE;
use super::schema::{Database, row, rows};

/// Makes the shop.
pub fn build() -> Database {
    let mut db = Database::new(11, &[PEOPLE, include_str!("words/shop.txt")]);
    lookups(&mut db);
    labels(&mut db);
    products(&mut db);
    customers(&mut db);
    orders(&mut db);
    payments(&mut db);
    reviews(&mut db);
    technical(&mut db);
    db.view(
        "v_product_ratings",
        "SELECT p.\"id\" AS product_id, p.\"name\" AS name, COUNT(r.\"id\") AS reviews FROM \"products\" p \
         LEFT JOIN \"reviews\" r ON r.\"product_id\" = p.\"id\" GROUP BY p.\"id\", p.\"name\"",
    );
    db
}

fn lookups(db: &mut Database) {
    db.rows(
        "countries",
        "code char(2) pk
         name varchar(60)",
        rows![
            ["DE", "Germany"],
            ["FR", "France"],
            ["GB", "United Kingdom"],
            ["IT", "Italy"],
            ["PT", "Portugal"],
            ["ES", "Spain"],
            ["SE", "Sweden"],
            ["AT", "Austria"],
            ["BE", "Belgium"],
            ["NL", "Netherlands"]
        ],
    );
    db.table(
        "categories",
        "id int pk
         parent_id int null -> categories.id
         name varchar(80)
         slug varchar(80) unique
         description text null",
        60,
        |g, n| {
            let name = g.say("catname");
            let slug = format!("{}-{n}", name.to_lowercase());
            row![
                n,
                g.earlier(n, 70),
                name,
                slug,
                g.some(80, |g| g.say("catdesc"))
            ]
        },
    );
    db.table(
        "brands",
        "id int pk
         name varchar(80)
         country_code char(2) -> countries.code
         story text null
         website_url varchar(200) null",
        40,
        |g, n| {
            let name = g.say("brandname");
            let url = format!("https://brand{n}.example.com/");
            row![
                n,
                format!("{name} {}", g.say("edition")),
                g.key("countries.code"),
                g.some(85, |g| g.prose("brandstory", 1, 3)),
                url
            ]
        },
    );
}

fn labels(db: &mut Database) {
    db.table(
        "tags",
        "id int pk
         name varchar(40) unique",
        30,
        |g, n| row![n, format!("{} {n}", g.say("adjective"))],
    );
    db.table(
        "coupons",
        "code varchar(20) pk
         description varchar(60)
         percent_off int
         valid_until date",
        100,
        |g, n| {
            let letters = g.letters("ABCDEFGHJKMNPQRSTUVWXYZ", 4);
            let rule = format!(
                "PCT-{}/MIN-{}/CH-{}",
                g.between(5, 40),
                g.between(20, 90),
                g.letters("WSM", 1)
            );
            row![
                format!("{letters}{n:03}"),
                rule,
                g.between(5, 40),
                g.date(2023, 2026)
            ]
        },
    );
}

fn products(db: &mut Database) {
    db.table(
        "products",
        "id int pk
         sku varchar(20) unique
         name varchar(160)
         description text
         brand_id int -> brands.id
         category_id int -> categories.id
         price decimal(10,2)
         currency char(3)
         weight_grams int null
         attributes json null
         image_url varchar(200) null
         active bool
         created_at timestamp",
        600,
        |g, n| {
            let sku = format!("{}-{:05}", g.letters("ABCDEFGHKLMN", 3), n * 7);
            let attributes = format!(
                "{{\"colour\": \"{}\", \"size\": {}}}",
                g.pick(&["red", "blue", "sand"]),
                g.between(1, 9)
            );
            row![
                n,
                sku,
                g.say("productname"),
                g.prose("sentence", 2, 5),
                g.key("brands.id"),
                g.key("categories.id"),
                g.amount(4, 900),
                "EUR",
                g.some(80, |g| g.between(40, 9000)),
                g.some(60, |_| attributes),
                g.some(90, |_| format!("https://img.example.com/p/{n}.jpg")),
                g.chance(93),
                g.timestamp(2020, 2025)
            ]
        },
    );
    let pairs = db.maker.pairs("products.id", "tags.id", 900);
    db.rows(
        "product_tags",
        "product_id int -> products.id
         tag_id int -> tags.id
         primary key (product_id, tag_id)",
        pairs
            .into_iter()
            .map(|(product, tag)| vec![product, tag])
            .collect(),
    );
}

fn customers(db: &mut Database) {
    db.table(
        "customers",
        "id int pk
         email varchar(160) unique
         password_hash varchar(80)
         first_name varchar(60)
         last_name varchar(60)
         phone varchar(30) null
         birth_date date null
         country_code char(2) noindex -> countries.code
         notes text null
         created_at timestamp",
        500,
        |g, n| {
            let (first, last) = (g.say("first"), g.say("last"));
            let email = g.email(&format!("{first} {last}"), n);
            row![
                n,
                email,
                g.bcrypt(),
                first,
                last,
                g.some(70, |g| g.phone("+44")),
                g.some(50, |g| g.date(1950, 2005)),
                g.key("countries.code"),
                None::<String>,
                g.timestamp(2019, 2025)
            ]
        },
    );
    db.table(
        "addresses",
        "id int pk
         customer_id int -> customers.id
         label varchar(20)
         street varchar(120)
         city varchar(60)
         postal_code varchar(12)
         country_code char(2) noindex -> countries.code",
        700,
        |g, n| {
            let street = format!("{} {}", g.between(1, 220), g.say("street"));
            row![
                n,
                g.key("customers.id"),
                g.pick(&["home", "work", "other"]),
                street,
                g.say("city"),
                g.digits(5),
                g.key("countries.code")
            ]
        },
    );
}

fn orders(db: &mut Database) {
    db.table(
        "orders",
        "id int pk
         order_number varchar(20) unique
         customer_id int -> customers.id
         billing_address_id int -> addresses.id
         shipping_address_id int null -> addresses.id
         coupon_code varchar(20) null -> coupons.code
         status varchar(12)
         total decimal(10,2)
         gift_message text null
         placed_at timestamp",
        1200,
        |g, n| {
            let status = g.pick(&["new", "paid", "shipped", "delivered", "returned"]);
            row![
                n,
                format!("SO-2025-{n:06}"),
                g.key("customers.id"),
                g.key("addresses.id"),
                g.some(70, |g| g.key("addresses.id")),
                g.some(15, |g| g.key("coupons.code")),
                status,
                g.amount(5, 2000),
                g.some(12, |g| g.say("gift")),
                g.timestamp(2021, 2025)
            ]
        },
    );
    let lines = db.maker.lines("orders.id", 1, 3);
    let rows = lines
        .into_iter()
        .map(|(order, line)| {
            let g = &mut db.maker;
            let codes = format!("{}/{}", g.letters("ABX", 2), g.digits(4));
            row![
                order,
                line,
                g.key("products.id"),
                g.between(1, 5),
                g.amount(4, 900),
                codes
            ]
        })
        .collect();
    db.rows(
        "order_lines",
        "order_id int -> orders.id
         line_no int
         product_id int -> products.id
         quantity int
         unit_price decimal(10,2)
         description varchar(20)
         primary key (order_id, line_no)",
        rows,
    );
}

fn payments(db: &mut Database) {
    db.table(
        "payments",
        "id int pk
         order_id int -> orders.id
         provider varchar(20)
         card_number varchar(20) null
         provider_token varchar(60)
         amount decimal(10,2)
         status varchar(12)
         paid_at timestamp null",
        1100,
        |g, n| {
            row![
                n,
                g.at("orders.id", n),
                g.pick(&["stripe", "adyen", "paypal"]),
                g.some(60, super::generate::Maker::card),
                g.token("tok_", 24),
                g.amount(5, 2000),
                g.pick(&["ok", "failed", "refunded"]),
                g.some(90, |g| g.timestamp(2021, 2025))
            ]
        },
    );
}

fn reviews(db: &mut Database) {
    db.table(
        "reviews",
        "id int pk
         product_id int -> products.id
         customer_id int -> customers.id
         rating int
         title varchar(120)
         body text
         helpful_count int
         created_at timestamp",
        900,
        |g, n| {
            row![
                n,
                g.key("products.id"),
                g.key("customers.id"),
                g.between(1, 5),
                g.say("title"),
                g.prose("opinion", 1, 4),
                g.between(0, 60),
                g.timestamp(2021, 2025)
            ]
        },
    );
}

fn technical(db: &mut Database) {
    db.table(
        "audit_log",
        "id bigint pk
         owner_type varchar(40)
         owner_id int
         action varchar(20)
         payload json null
         ip_address varchar(45)
         created_at timestamp
         index (owner_type, owner_id)",
        1500,
        |g, n| {
            let payload = format!(
                "{{\"request\": \"{}\", \"ms\": {}}}",
                g.hex(12),
                g.between(2, 900)
            );
            row![
                n,
                g.pick(&["Order", "Product", "Customer"]),
                g.between(1, 500),
                g.pick(&["create", "update", "delete"]),
                g.some(80, |_| payload),
                g.ip(),
                g.timestamp(2023, 2025)
            ]
        },
    );
    db.table(
        "sessions",
        "id char(64) pk
         customer_id int null -> customers.id
         data text
         user_agent varchar(255)
         last_seen_at timestamp",
        400,
        |g, _| {
            row![
                g.hex(64),
                g.some(60, |g| g.key("customers.id")),
                g.base64(60),
                g.say("agent"),
                g.timestamp(2025, 2025)
            ]
        },
    );
    db.table(
        "schema_migrations",
        "version varchar(14) pk
         name varchar(80)",
        40,
        |g, n| {
            let name = format!(
                "{}_{}",
                g.pick(&["add", "alter", "drop"]),
                g.pick(&["orders_index", "coupon_code", "product_flags"])
            );
            row![
                format!("20{}01{:02}1200{:02}", 19 + n % 7, 1 + n % 28, n),
                name
            ]
        },
    );
}

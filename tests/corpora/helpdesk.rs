//! A helpdesk: singular tables with the prefix `hd_`.

use super::generate::{Maker, PEOPLE};
use super::schema::{Database, row, rows};

/// Makes the helpdesk.
pub fn build() -> Database {
    let mut db = Database::new(23, &[PEOPLE, include_str!("words/helpdesk.txt")]);
    people(&mut db);
    customers(&mut db);
    lookups(&mut db);
    tickets(&mut db);
    comments(&mut db);
    articles(&mut db);
    technical(&mut db);
    db.view(
        "hd_v_open_ticket",
        "SELECT t.\"id\" AS ticket_id, t.\"subject\" AS subject, q.\"name\" AS queue_name FROM \"hd_ticket\" t \
         JOIN \"hd_queue\" q ON q.\"id\" = t.\"queue_id\" WHERE t.\"status_code\" <> 'CL'",
    );
    db
}

fn people(db: &mut Database) {
    db.rows(
        "hd_role",
        "code varchar(10) pk
         label varchar(40)",
        rows![
            ["ADM", "Administrator"],
            ["L1", "First level"],
            ["L2", "Second level"],
            ["MGR", "Manager"]
        ],
    );
    db.table(
        "hd_user",
        "id int pk
         login varchar(40) unique
         pw_hash varchar(80)
         api_token varchar(60) null
         full_name varchar(100)
         email varchar(160)
         phone varchar(30) null
         role_code varchar(10) -> hd_role.code
         manager_id int null -> hd_user.id
         last_login_ip varchar(45) null",
        120,
        |g, n| {
            let (first, last) = (g.say("first"), g.say("last"));
            let name = format!("{first} {last}");
            let email = g.email(&name, n);
            let login = format!("{}{n}", last.to_lowercase());
            row![
                n,
                login,
                g.bcrypt(),
                g.some(30, |g| g.token("hdk_", 40)),
                name,
                email,
                g.some(80, |g| g.phone("+1")),
                g.key("hd_role.code"),
                g.earlier(n, 90),
                g.some(90, Maker::ip)
            ]
        },
    );
}

fn customers(db: &mut Database) {
    db.table(
        "hd_customer",
        "id int pk
         name varchar(100)
         domain varchar(80)
         vat_number varchar(20) null
         remark text null",
        150,
        |g, n| {
            let name = g.say("company");
            let domain = format!("customer{n}.example.com");
            row![
                n,
                format!("{name} {n}"),
                domain,
                g.some(60, |g| format!("GB{}", g.digits(9))),
                None::<String>
            ]
        },
    );
    db.table(
        "hd_contact",
        "id int pk
         customer_id int -> hd_customer.id
         name varchar(100)
         email varchar(160)
         mobile varchar(30) null",
        400,
        |g, n| {
            let name = format!("{} {}", g.say("first"), g.say("last"));
            let email = g.email(&name, n);
            row![
                n,
                g.key("hd_customer.id"),
                name,
                email,
                g.some(60, |g| g.phone("+44"))
            ]
        },
    );
}

fn lookups(db: &mut Database) {
    db.table(
        "hd_queue",
        "id int pk
         name varchar(60)
         description varchar(200) null",
        24,
        |g, n| {
            row![
                n,
                format!(
                    "{} {}",
                    g.say("queue"),
                    g.pick(&["Europe", "Americas", "Asia"])
                ),
                g.some(80, |g| g.say("queuedesc"))
            ]
        },
    );
    db.rows(
        "hd_status",
        "code char(2) pk
         label varchar(40)",
        rows![
            ["NW", "New"],
            ["OP", "Open"],
            ["WT", "Waiting for customer"],
            ["RS", "Resolved"],
            ["CL", "Closed"]
        ],
    );
    db.rows(
        "hd_priority",
        "code char(2) pk
         label varchar(40)
         target_minutes int",
        rows![
            ["P1", "Critical", 60],
            ["P2", "High", 240],
            ["P3", "Normal", 1440],
            ["P4", "Low", 10080]
        ],
    );
    db.table(
        "hd_tag",
        "id int pk
         label varchar(40)",
        12,
        |g, n| row![n, format!("{}-{n}", g.say("tag"))],
    );
}

fn tickets(db: &mut Database) {
    db.table(
        "hd_ticket",
        "id int pk
         number varchar(16) unique
         subject varchar(200)
         body text
         requester_id int -> hd_contact.id
         assignee_id int null -> hd_user.id
         created_by_id int noindex -> hd_user.id
         queue_id int -> hd_queue.id
         status_code char(2) noindex -> hd_status.code
         priority_code char(2) noindex -> hd_priority.code
         parent_ticket_id int null -> hd_ticket.id
         resolution text null
         minutes_spent int null
         created_at timestamp
         closed_at timestamp null",
        900,
        |g, n| {
            row![
                n,
                format!("INC{:07}", n * 3),
                g.say("subject"),
                g.prose("complaint", 2, 5),
                g.key("hd_contact.id"),
                g.some(85, |g| g.key("hd_user.id")),
                g.key("hd_user.id"),
                g.key("hd_queue.id"),
                g.key("hd_status.code"),
                g.key("hd_priority.code"),
                g.earlier(n, 8),
                g.some(60, |g| g.prose("resolution", 1, 2)),
                g.some(60, |g| g.between(5, 900)),
                g.timestamp(2023, 2025),
                g.some(60, |g| g.timestamp(2025, 2025))
            ]
        },
    );
    let pairs = db.maker.pairs("hd_ticket.id", "hd_tag.id", 1000);
    db.rows(
        "hd_ticket_tag",
        "ticket_id int -> hd_ticket.id
         tag_id int -> hd_tag.id
         primary key (ticket_id, tag_id)",
        pairs
            .into_iter()
            .map(|(ticket, tag)| vec![ticket, tag])
            .collect(),
    );
    db.table(
        "hd_satisfaction",
        "ticket_id int pk -> hd_ticket.id
         score int
         feedback text null
         answered_at timestamp",
        300,
        |g, n| {
            row![
                g.at("hd_ticket.id", n * 3),
                g.between(1, 5),
                g.some(70, |g| g.prose("feedback", 1, 2)),
                g.timestamp(2025, 2025)
            ]
        },
    );
}

fn comments(db: &mut Database) {
    db.table(
        "hd_ticket_comment",
        "id int pk
         ticket_id int -> hd_ticket.id
         author_id int noindex -> hd_user.id
         body text
         is_internal bool
         created_at timestamp",
        1800,
        |g, n| {
            row![
                n,
                g.key("hd_ticket.id"),
                g.key("hd_user.id"),
                g.html("reply", 1),
                g.chance(25),
                g.timestamp(2023, 2025)
            ]
        },
    );
}

fn articles(db: &mut Database) {
    db.table(
        "hd_article_category",
        "id int pk
         name varchar(60)",
        15,
        |g, n| row![n, format!("{} guides {n}", g.say("queue"))],
    );
    db.table(
        "hd_article",
        "id int pk
         title varchar(200)
         content text
         category_id int -> hd_article_category.id
         author_id int -> hd_user.id
         slug varchar(80) unique
         published bool
         view_count int
         updated_at timestamp",
        250,
        |g, n| {
            let paragraphs = g.between(2, 4);
            row![
                n,
                g.say("arttitle"),
                g.html("article", paragraphs),
                g.key("hd_article_category.id"),
                g.key("hd_user.id"),
                format!("article-{n}"),
                g.chance(85),
                g.between(0, 4000),
                g.timestamp(2022, 2025)
            ]
        },
    );
    db.table(
        "hd_attachment",
        "id int pk
         owner_type varchar(20)
         owner_id int
         file_name varchar(120)
         sha256 char(64)
         storage_url varchar(200)
         byte_size int
         thumbnail blob null
         index (owner_type, owner_id)",
        600,
        |g, n| {
            let name = format!(
                "{}-{n}.{}",
                g.pick(&["screenshot", "log", "scan"]),
                g.pick(&["png", "txt", "pdf"])
            );
            row![
                n,
                g.pick(&["ticket", "article", "comment"]),
                g.between(1, 250),
                name,
                g.hex(64),
                format!("s3://attachments/{}/{n}", g.hex(8)),
                g.between(900, 4_000_000),
                g.some(40, |g| g.bytes(24))
            ]
        },
    );
}

fn technical(db: &mut Database) {
    db.table(
        "hd_job_queue",
        "id bigint pk
         kind varchar(40)
         payload json
         attempts int
         last_error text null
         run_at timestamp",
        500,
        |g, n| {
            let payload = format!(
                "{{\"ticket\": {}, \"template\": \"{}\"}}",
                g.between(1, 900),
                g.pick(&["opened", "closed"])
            );
            row![
                n,
                g.pick(&["send_mail", "index_ticket", "escalate"]),
                payload,
                g.between(0, 5),
                g.some(40, |g| g.say("trace")),
                g.timestamp(2025, 2025)
            ]
        },
    );
    db.table(
        "hd_event_log",
        "id bigint pk
         user_id int null -> hd_user.id
         event varchar(40)
         detail varchar(200)
         created_at timestamp",
        1500,
        |g, n| {
            let detail = format!(
                "from={} to={}",
                g.pick(&["NW", "OP", "WT"]),
                g.pick(&["OP", "RS", "CL"])
            );
            row![
                n,
                g.some(70, |g| g.key("hd_user.id")),
                g.pick(&["status_changed", "login", "assigned"]),
                detail,
                g.timestamp(2024, 2025)
            ]
        },
    );
    db.table(
        "hd_schema_version",
        "version int pk
         script varchar(80)
         checksum char(40)
         installed_on timestamp",
        35,
        |g, n| {
            row![
                n,
                format!("V{n}__change.sql"),
                g.hex(40),
                g.timestamp(2020, 2025)
            ]
        },
    );
}

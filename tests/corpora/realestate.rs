//! An estate agency: singular tables and columns in `PascalCase`, as on Microsoft's servers.

use super::generate::{Maker, PEOPLE};
use super::schema::{Database, row};

/// Makes the estate agency.
pub fn build() -> Database {
    let mut db = Database::new(71, &[PEOPLE, include_str!("words/realestate.txt")]);
    places(&mut db);
    people(&mut db);
    leads(&mut db);
    properties(&mut db);
    listings(&mut db);
    visits(&mut db);
    contracts(&mut db);
    technical(&mut db);
    db.view(
        "ActiveListing",
        "SELECT l.\"ListingID\" AS ListingID, l.\"Headline\" AS Headline, p.\"Street\" AS Street FROM \"Listing\" l \
         JOIN \"Property\" p ON p.\"PropertyID\" = l.\"PropertyID\"",
    );
    db
}

fn places(db: &mut Database) {
    db.table(
        "City",
        "CityID int pk
         CityName varchar(60)
         CountryCode char(2)",
        20,
        |g, n| row![n, format!("{} {n}", g.say("city")), g.pick(&["BE", "NL"])],
    );
    db.table(
        "Neighbourhood",
        "NeighbourhoodID int pk
         CityID int -> City.CityID
         Name varchar(80)
         Portrait text null
         MedianPrice decimal(12,2)",
        120,
        |g, n| {
            row![
                n,
                g.key("City.CityID"),
                g.say("area"),
                g.some(90, |g| g.prose("portrait", 2, 4)),
                g.amount(150_000, 900_000)
            ]
        },
    );
}

fn people(db: &mut Database) {
    db.table(
        "Agent",
        "AgentID int pk
         FullName varchar(100)
         Bio text null
         Email varchar(160)
         DirectLine varchar(30)
         PasswordHash varchar(80)
         TeamLeadID int null -> Agent.AgentID
         PhotoUrl varchar(200) null",
        100,
        |g, n| {
            let name = format!("{} {}", g.say("first"), g.say("last"));
            let email = g.email(&name, n);
            row![
                n,
                name,
                g.some(90, |g| g.prose("bio", 2, 3)),
                email,
                g.phone("+32"),
                g.bcrypt(),
                g.earlier(n, 70),
                g.some(70, |_| format!("https://cdn.example.com/agents/{n}.jpg"))
            ]
        },
    );
    db.table(
        "Owner",
        "OwnerID int pk
         FullName varchar(100)
         Email varchar(160) null
         Phone varchar(30) null
         NationalNumber char(11)
         Iban varchar(34) null",
        300,
        |g, n| {
            let name = format!("{} {}", g.say("first"), g.say("last"));
            let email = g.email(&name, n);
            row![
                n,
                name,
                g.some(80, |_| email),
                g.some(80, |g| g.phone("+32")),
                g.digits(11),
                g.some(70, |g| g.iban("BE", 12))
            ]
        },
    );
}

fn leads(db: &mut Database) {
    db.table(
        "Lead",
        "LeadID int pk
         FullName varchar(100)
         Email varchar(160)
         Phone varchar(30) null
         SearchProfile json null
         Remarks text null",
        400,
        |g, n| {
            let name = format!("{} {}", g.say("first"), g.say("last"));
            let email = g.email(&name, n);
            let profile = format!(
                "{{\"rooms\": {}, \"max\": {}}}",
                g.between(1, 6),
                g.between(100, 900) * 1000
            );
            row![
                n,
                name,
                email,
                g.some(60, |g| g.phone("+31")),
                g.some(70, |_| profile),
                None::<String>
            ]
        },
    );
}

fn properties(db: &mut Database) {
    db.table(
        "Property",
        "PropertyID int pk
         CadastralNo varchar(20) unique
         NeighbourhoodID int -> Neighbourhood.NeighbourhoodID
         OwnerID int -> Owner.OwnerID
         Street varchar(100)
         HouseNo varchar(8)
         LivingArea int
         Rooms int
         BuiltIn int
         EnergyClass char(1)
         Latitude double
         Longitude double",
        400,
        |g, n| {
            let latitude = super::schema::Value::Number(format!("51.{}", g.digits(5)));
            let longitude = super::schema::Value::Number(format!("4.{}", g.digits(5)));
            row![
                n,
                format!("{}/{}/{n:04}", g.digits(5), g.letters("ABC", 1)),
                g.key("Neighbourhood.NeighbourhoodID"),
                g.key("Owner.OwnerID"),
                g.say("street"),
                g.between(1, 190).to_string(),
                g.between(25, 400),
                g.between(1, 9),
                g.between(1870, 2024),
                g.letters("ABCDEFG", 1),
                latitude,
                longitude
            ]
        },
    );
    db.table(
        "Feature",
        "FeatureID int pk
         FeatureName varchar(40)",
        10,
        |g, n| {
            row![
                n,
                format!(
                    "{} {}",
                    g.say("featurename"),
                    g.pick(&["(shared)", "(private)"])
                )
            ]
        },
    );
    let pairs = db
        .maker
        .pairs("Property.PropertyID", "Feature.FeatureID", 800);
    db.rows(
        "PropertyFeature",
        "PropertyID int -> Property.PropertyID
         FeatureID int -> Feature.FeatureID
         primary key (PropertyID, FeatureID)",
        pairs
            .into_iter()
            .map(|(property, feature)| vec![property, feature])
            .collect(),
    );
}

fn listings(db: &mut Database) {
    db.table(
        "Listing",
        "ListingID int pk
         PropertyID int -> Property.PropertyID
         ListingAgentID int -> Agent.AgentID
         CoAgentID int null -> Agent.AgentID
         Headline varchar(160)
         DescriptionHtml text
         AskingPrice decimal(12,2)
         ListingType char(1)
         ExternalRef varchar(40)
         PublishedAt timestamp null",
        500,
        |g, n| {
            row![
                n,
                g.key("Property.PropertyID"),
                g.key("Agent.AgentID"),
                g.some(20, |g| g.key("Agent.AgentID")),
                g.say("headline"),
                g.html("desc", 2),
                g.amount(90_000, 1_500_000),
                g.pick(&["S", "R"]),
                g.uuid(),
                g.some(90, |g| g.timestamp(2021, 2025))
            ]
        },
    );
    db.table(
        "Photo",
        "PhotoID int pk
         ListingID int -> Listing.ListingID
         Url varchar(200)
         Caption varchar(120) null
         SortOrder int",
        1200,
        |g, n| {
            row![
                n,
                g.key("Listing.ListingID"),
                format!("https://cdn.example.com/l/{}.jpg", g.hex(16)),
                g.some(70, |g| g.say("caption")),
                g.between(1, 20)
            ]
        },
    );
    let lines = db.maker.lines("Listing.ListingID", 1, 3);
    let rows = lines
        .into_iter()
        .map(|(listing, line)| {
            row![
                listing,
                line,
                db.maker.amount(90_000, 1_500_000),
                db.maker.date(2021, 2025)
            ]
        })
        .collect();
    db.rows(
        "PriceHistory",
        "ListingID int noindex -> Listing.ListingID
         ChangeNo int
         Price decimal(12,2)
         ChangedOn date
         primary key (ListingID, ChangeNo)",
        rows,
    );
}

fn visits(db: &mut Database) {
    db.table(
        "Inquiry",
        "InquiryID int pk
         ListingID int -> Listing.ListingID
         LeadID int -> Lead.LeadID
         Message text
         Channel varchar(10)
         ReceivedAt timestamp",
        700,
        |g, n| {
            row![
                n,
                g.key("Listing.ListingID"),
                g.key("Lead.LeadID"),
                g.prose("inquiry", 1, 3),
                g.pick(&["web", "phone", "portal"]),
                g.timestamp(2023, 2025)
            ]
        },
    );
    db.table(
        "Viewing",
        "ViewingID int pk
         ListingID int -> Listing.ListingID
         LeadID int -> Lead.LeadID
         GuidedByAgentID int noindex -> Agent.AgentID
         Feedback text null
         ViewedAt timestamp",
        600,
        |g, n| {
            row![
                n,
                g.key("Listing.ListingID"),
                g.key("Lead.LeadID"),
                g.key("Agent.AgentID"),
                g.some(75, |g| g.prose("visit", 1, 2)),
                g.timestamp(2023, 2025)
            ]
        },
    );
}

fn contracts(db: &mut Database) {
    db.table(
        "Contract",
        "ContractNo varchar(16) pk
         ListingID int -> Listing.ListingID
         BuyerLeadID int -> Lead.LeadID
         SignedOn date
         DocumentSha char(64)
         Commission decimal(5,2)
         Notes varchar(30) null",
        150,
        |g, n| {
            let codes = g.some(60, |g| format!("C{}-{}", g.digits(2), g.letters("KLM", 3)));
            row![
                format!("CT-{:05}", n * 11),
                g.key("Listing.ListingID"),
                g.key("Lead.LeadID"),
                g.date(2022, 2025),
                g.hex(64),
                g.amount(1, 4),
                codes
            ]
        },
    );
}

fn technical(db: &mut Database) {
    db.table(
        "EmailOutbox",
        "OutboxID bigint pk
         Recipient varchar(160)
         Subject varchar(160)
         BodyHtml text
         SentAt timestamp null",
        500,
        |g, n| {
            let recipient = g.key("Lead.Email");
            let subject = format!("Your request {}", g.digits(6));
            let body = format!("<html><body><p>Ref {}</p><a href=\"https://example.com/u/{}\">unsubscribe</a></body></html>", g.digits(6), g.hex(16));
            row![n, recipient, subject, body, g.some(95, |g| g.timestamp(2025, 2025))]
        },
    );
    db.table(
        "ActivityLog",
        "ActivityID bigint pk
         SubjectType varchar(20)
         SubjectID int
         AgentID int null -> Agent.AgentID
         Verb varchar(20)
         RemoteAddr varchar(45)
         LoggedAt timestamp
         index (SubjectType, SubjectID)",
        1500,
        |g, n| {
            row![
                n,
                g.pick(&["Listing", "Lead", "Viewing"]),
                g.between(1, 400),
                g.some(80, |g| g.key("Agent.AgentID")),
                g.pick(&["created", "viewed", "changed"]),
                Maker::ip(g),
                g.timestamp(2025, 2025)
            ]
        },
    );
    db.table(
        "flyway_schema_history",
        "installed_rank int pk
         version varchar(20)
         description varchar(80)
         checksum int
         success bool",
        45,
        |g, n| {
            let description = format!(
                "{} {}",
                g.pick(&["add", "drop", "rename"]),
                g.pick(&["listing columns", "owner index", "photo order"])
            );
            row![
                n,
                format!("1.{n}"),
                description,
                g.between(1000, 2_000_000),
                true
            ]
        },
    );
}

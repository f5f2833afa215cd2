//! Ein Wartungsbetrieb: a maintenance firm with German names and texts, tables in the singular.

use super::generate::Maker;
use super::schema::{Database, row, rows};

/// Makes the maintenance firm.
pub fn build() -> Database {
    let mut db = Database::new(41, &[include_str!("words/german.txt")]);
    customers(&mut db);
    accounts(&mut db);
    staff(&mut db);
    plants(&mut db);
    orders(&mut db);
    parts(&mut db);
    invoices(&mut db);
    technical(&mut db);
    db.view(
        "v_offene_auftraege",
        "SELECT a.\"auftragsnr\" AS auftragsnr, a.\"betreff\" AS betreff, k.\"firmenname\" AS kunde FROM \"auftrag\" a \
         JOIN \"kunde\" k ON k.\"kundennr\" = a.\"kundennr\" WHERE a.\"status\" = 'offen'",
    );
    db
}

fn customers(db: &mut Database) {
    db.table(
        "kunde",
        "kundennr int pk
         firmenname varchar(100)
         strasse varchar(100)
         plz char(5)
         ort varchar(60)
         telefon varchar(30) null
         email varchar(160) null
         ust_id varchar(14) null
         bemerkung text null
         angelegt_am timestamp",
        300,
        |g, n| {
            let name = g.say("firma");
            let strasse = format!("{} {}", g.say("strasse"), g.between(1, 140));
            let email = g.email("info", n);
            row![
                10_000 + n,
                name,
                strasse,
                g.digits(5),
                g.say("ort"),
                g.some(90, |g| g.phone("+49")),
                g.some(80, |_| email),
                g.some(60, |g| format!("DE{}", g.digits(9))),
                None::<String>,
                g.timestamp(2008, 2025)
            ]
        },
    );
    db.table(
        "ansprechpartner",
        "id int pk
         kundennr int -> kunde.kundennr
         vorname varchar(60)
         nachname varchar(60)
         mobil varchar(30) null
         email varchar(160) null
         funktion varchar(40) null",
        450,
        |g, n| {
            let (vorname, nachname) = (g.say("vorname"), g.say("nachname"));
            let email = g.email(&format!("{vorname} {nachname}"), n);
            let funktion = g.some(60, |g| {
                g.pick(&["Einkauf", "Technische Leitung", "Hausmeister"])
            });
            row![
                n,
                g.key("kunde.kundennr"),
                vorname,
                nachname,
                g.some(70, |g| g.phone("+49")),
                g.some(70, |_| email),
                funktion
            ]
        },
    );
}

fn accounts(db: &mut Database) {
    db.table(
        "bankverbindung",
        "id int pk
         kundennr int unique -> kunde.kundennr
         kontoinhaber varchar(80)
         iban varchar(34)
         bic varchar(11)",
        200,
        |g, n| {
            let inhaber = format!("{} {}", g.say("vorname"), g.say("nachname"));
            row![
                n,
                g.at("kunde.kundennr", n),
                inhaber,
                g.iban("DE", 18),
                format!("{}DEFFXXX", g.letters("ABCDEFGH", 4))
            ]
        },
    );
}

fn staff(db: &mut Database) {
    db.table(
        "techniker",
        "personalnr int pk
         vorname varchar(60)
         nachname varchar(60)
         geburtsdatum date
         sozialversicherungsnr char(12)
         telefon_privat varchar(30) null
         vorgesetzter_nr int null -> techniker.personalnr
         stundensatz decimal(8,2)",
        110,
        |g, n| {
            let sv = format!("{}{}{}", g.digits(8), g.letters("ABKMS", 1), g.digits(3));
            row![
                n,
                g.say("vorname"),
                g.say("nachname"),
                g.date(1960, 2003),
                sv,
                g.some(80, |g| g.phone("+49")),
                g.earlier(n, 90),
                g.amount(38, 95)
            ]
        },
    );
    db.rows(
        "qualifikation",
        "kuerzel varchar(6) pk
         bezeichnung varchar(60)",
        rows![
            ["KT", "Kältetechnik"],
            ["BW", "Brennerwartung"],
            ["SP", "Schweißerprüfung"],
            ["EFK", "Elektrofachkraft"],
            ["AH", "Arbeiten in der Höhe"],
            ["DB", "Druckbehälter"],
            ["GI", "Gasinstallation"],
            ["HY", "Hydraulik"]
        ],
    );
    let pairs = db
        .maker
        .pairs("techniker.personalnr", "qualifikation.kuerzel", 260);
    let rows = pairs
        .into_iter()
        .map(|(nr, kuerzel)| row![nr, kuerzel, db.maker.date(2026, 2029)])
        .collect();
    db.rows(
        "techniker_qualifikation",
        "personalnr int -> techniker.personalnr
         kuerzel varchar(6) -> qualifikation.kuerzel
         gueltig_bis date
         primary key (personalnr, kuerzel)",
        rows,
    );
}

fn plants(db: &mut Database) {
    db.rows(
        "anlagentyp",
        "id int pk
         bezeichnung varchar(60)",
        rows![
            [1, "Heizkessel"],
            [2, "Kälteanlage"],
            [3, "Lüftungsanlage"],
            [4, "Wärmepumpe"],
            [5, "Dampferzeuger"],
            [6, "Druckluftstation"],
            [7, "Rückkühler"],
            [8, "Fernwärmestation"]
        ],
    );
    db.table(
        "hersteller",
        "id int pk
         name varchar(60)
         land varchar(40)
         webseite varchar(120) null",
        30,
        |g, n| {
            let webseite = format!("https://www.hersteller{n}.example/");
            row![
                n,
                format!("{} Technik {n}", g.say("nachname")),
                g.pick(&["Deutschland", "Österreich", "Schweiz", "Dänemark"]),
                webseite
            ]
        },
    );
    db.table(
        "anlage",
        "id int pk
         kundennr int -> kunde.kundennr
         anlagentyp_id int noindex -> anlagentyp.id
         hersteller_id int -> hersteller.id
         seriennummer varchar(30)
         baujahr int
         leistung_kw decimal(8,1) null
         standort varchar(120) null
         anmerkungen text null",
        500,
        |g, n| {
            let leistung = super::schema::Value::Number(format!("{}.5", g.between(5, 900)));
            let standort = g.some(80, |g| {
                format!(
                    "{}, {}",
                    g.pick(&["Keller", "Dach", "Halle 2", "Technikraum"]),
                    g.say("strasse")
                )
            });
            row![
                n,
                g.key("kunde.kundennr"),
                g.key("anlagentyp.id"),
                g.key("hersteller.id"),
                format!("SN-{}-{n}", g.hex(6)),
                g.between(1990, 2025),
                leistung,
                standort,
                g.some(80, |g| g.prose("anmerkung", 1, 3))
            ]
        },
    );
}

fn orders(db: &mut Database) {
    db.table(
        "auftrag",
        "auftragsnr varchar(14) pk
         anlage_id int -> anlage.id
         kundennr int -> kunde.kundennr
         angenommen_von int -> techniker.personalnr
         ausgefuehrt_von int null -> techniker.personalnr
         betreff varchar(160)
         beschreibung text
         status varchar(12)
         dringlichkeit int
         eingang timestamp",
        800,
        |g, n| {
            row![
                format!("A-2025-{n:05}"),
                g.key("anlage.id"),
                g.key("kunde.kundennr"),
                g.key("techniker.personalnr"),
                g.some(80, |g| g.key("techniker.personalnr")),
                g.say("betreff"),
                g.prose("auftragstext", 2, 4),
                g.pick(&["offen", "geplant", "erledigt", "storniert"]),
                g.between(1, 4),
                g.timestamp(2021, 2025)
            ]
        },
    );
    db.table(
        "wartungsbericht",
        "id int pk
         auftragsnr varchar(14) unique -> auftrag.auftragsnr
         techniker_nr int -> techniker.personalnr
         berichtstext text
         arbeitszeit_min int
         unterschrift_png text
         erstellt_am timestamp",
        600,
        |g, n| {
            row![
                n,
                g.at("auftrag.auftragsnr", n),
                g.key("techniker.personalnr"),
                g.prose("bericht", 2, 5),
                g.between(30, 600),
                format!("iVBORw0KGgo{}", g.base64(40)),
                g.timestamp(2021, 2025)
            ]
        },
    );
}

fn parts(db: &mut Database) {
    db.table(
        "ersatzteil",
        "teilenr varchar(12) pk
         bezeichnung varchar(120)
         beschreibung text
         hersteller_id int -> hersteller.id
         ean char(13) null
         listenpreis decimal(10,2)",
        350,
        |g, n| {
            row![
                format!("ET{:06}", 300 + n * 4),
                g.say("teilname"),
                g.prose("teiltext", 2, 3),
                g.key("hersteller.id"),
                g.some(80, |g| g.digits(13)),
                g.amount(2, 2200)
            ]
        },
    );
    db.rows(
        "lager",
        "id int pk
         bezeichnung varchar(60)",
        rows![
            [1, "Hauptlager"],
            [2, "Außenlager Süd"],
            [3, "Fahrzeug 1"],
            [4, "Fahrzeug 2"],
            [5, "Fahrzeug 3"],
            [6, "Kommission"]
        ],
    );
    let pairs = db.maker.pairs("lager.id", "ersatzteil.teilenr", 700);
    let rows = pairs
        .into_iter()
        .map(|(lager, teil)| {
            let g = &mut db.maker;
            let fach = format!("{}-{}", g.letters("ABCDEF", 1), g.digits(3));
            row![lager, teil, g.between(0, 60), fach]
        })
        .collect();
    db.rows(
        "lagerbestand",
        "lager_id int noindex -> lager.id
         teilenr varchar(12) -> ersatzteil.teilenr
         menge int
         beschreibung varchar(20)
         primary key (lager_id, teilenr)",
        rows,
    );
}

fn invoices(db: &mut Database) {
    db.table(
        "rechnung",
        "rechnungsnr varchar(14) pk
         auftragsnr varchar(14) -> auftrag.auftragsnr
         kundennr int -> kunde.kundennr
         betrag decimal(12,2)
         faellig_am date
         bezahlt bool",
        550,
        |g, n| {
            row![
                format!("R-{:08}", 20_250_000 + n),
                g.at("auftrag.auftragsnr", n),
                g.key("kunde.kundennr"),
                g.amount(80, 9000),
                g.date(2021, 2025),
                g.chance(85)
            ]
        },
    );
    let lines = db.maker.lines("rechnung.rechnungsnr", 1, 3);
    let rows = lines
        .into_iter()
        .map(|(rechnung, zeile)| {
            let g = &mut db.maker;
            let teil = g.some(50, |g| g.key("ersatzteil.teilenr"));
            row![
                rechnung,
                zeile,
                teil,
                g.say("position"),
                g.between(1, 8),
                g.amount(10, 900)
            ]
        })
        .collect();
    db.rows(
        "rechnungsposition",
        "rechnungsnr varchar(14) noindex -> rechnung.rechnungsnr
         pos int
         teilenr varchar(12) null -> ersatzteil.teilenr
         text varchar(120)
         menge int
         einzelpreis decimal(10,2)
         primary key (rechnungsnr, pos)",
        rows,
    );
}

fn technical(db: &mut Database) {
    db.table(
        "benutzer",
        "id int pk
         kennung varchar(40) unique
         passwort_hash varchar(80)
         techniker_nr int null unique -> techniker.personalnr
         gesperrt bool",
        110,
        |g, n| {
            let kennung = format!("{}{n}", g.say("nachname").to_lowercase());
            let techniker = (n % 4 != 0).then(|| g.at("techniker.personalnr", n));
            row![n, kennung, g.bcrypt(), techniker, g.chance(5)]
        },
    );
    db.table(
        "aenderungsprotokoll",
        "id bigint pk
         tabelle varchar(40)
         datensatz_id varchar(20)
         benutzer_id int -> benutzer.id
         alt text null
         neu text null
         zeitpunkt timestamp
         index (tabelle, datensatz_id)",
        1500,
        |g, n| {
            let status = |g: &mut Maker| {
                format!(
                    "{{\"status\": \"{}\"}}",
                    g.pick(&["offen", "geplant", "erledigt"])
                )
            };
            row![
                n,
                g.pick(&["auftrag", "anlage", "kunde"]),
                g.between(1, 400).to_string(),
                g.key("benutzer.id"),
                g.some(80, status),
                g.some(80, status),
                g.timestamp(2023, 2025)
            ]
        },
    );
    db.table(
        "sitzung",
        "token char(64) pk
         benutzer_id int noindex -> benutzer.id
         ip_adresse varchar(45)
         gueltig_bis timestamp",
        250,
        |g, _| {
            row![
                g.hex(64),
                g.key("benutzer.id"),
                g.ip(),
                g.timestamp(2025, 2026)
            ]
        },
    );
    db.table(
        "db_version",
        "version int pk
         skript varchar(80)
         eingespielt_am timestamp",
        40,
        |g, n| row![n, format!("{n:03}_aenderung.sql"), g.timestamp(2018, 2025)],
    );
}

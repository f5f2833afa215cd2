//! An ERP system with cryptic names of eight letters at most, codes padded with zeros, and texts in tables of their own.

use super::generate::{Maker, PEOPLE};
use super::schema::{Database, row, rows};

/// Makes the ERP system.
pub fn build() -> Database {
    let mut db = Database::new(37, &[PEOPLE, include_str!("words/erp.txt")]);
    lookups(&mut db);
    partners(&mut db);
    materials(&mut db);
    sales(&mut db);
    schedule(&mut db);
    purchasing(&mut db);
    quality(&mut db);
    visits(&mut db);
    technical(&mut db);
    logs(&mut db);
    db
}

fn lookups(db: &mut Database) {
    db.rows(
        "T005",
        "LAND1 char(3) pk
         WAERS char(5)",
        rows![
            ["DE", "EUR"],
            ["FR", "EUR"],
            ["SE", "SEK"],
            ["IT", "EUR"],
            ["GB", "GBP"],
            ["CZ", "CZK"],
            ["JP", "JPY"],
            ["AT", "EUR"]
        ],
    );
    db.rows(
        "T001",
        "BUKRS char(4) pk
         BUTXT varchar(25)
         LAND1 char(3) noindex -> T005.LAND1",
        rows![
            ["1000", "Works Germany", "DE"],
            ["2000", "Works France", "FR"],
            ["3000", "Sales UK", "GB"],
            ["4000", "Works Italy", "IT"]
        ],
    );
    db.rows(
        "T023",
        "MATKL char(9) pk
         WGBEZ varchar(20)",
        rows![
            ["0010", "Pumps"],
            ["0020", "Seals"],
            ["0030", "Bearings"],
            ["0040", "Valves"],
            ["0050", "Hoses"],
            ["0060", "Drives"],
            ["0070", "Filters"],
            ["0080", "Sensors"],
            ["0090", "Repair kits"]
        ],
    );
    db.rows(
        "TQ80",
        "QMART char(2) pk
         QMARTX varchar(20)",
        rows![
            ["Q1", "Customer complaint"],
            ["Q2", "Vendor complaint"],
            ["Q3", "Internal problem"],
            ["M1", "Maintenance"]
        ],
    );
}

fn partners(db: &mut Database) {
    db.table(
        "KNA1",
        "KUNNR char(10) pk
         LAND1 char(3) -> T005.LAND1
         NAME1 varchar(35)
         NAME2 varchar(35) null
         ORT01 varchar(35)
         PSTLZ varchar(10)
         STRAS varchar(35)
         TELF1 varchar(16) null
         STCEG varchar(20) null
         KTOKD char(4)
         LOEVM char(1) null",
        400,
        |g, n| {
            let name = g.say("firm");
            let street = format!("{} {}", g.say("street"), g.between(1, 90));
            row![
                format!("{:010}", 100_000 + n),
                g.key("T005.LAND1"),
                name,
                None::<String>,
                g.say("town"),
                g.digits(5),
                street,
                g.some(70, |g| format!("+49{}", g.digits(9))),
                g.some(60, |g| format!("DE{}", g.digits(9))),
                g.pick(&["KUNA", "CPD", "0001"]),
                g.some(3, |_| "X")
            ]
        },
    );
    db.table(
        "LFA1",
        "LIFNR char(10) pk
         LAND1 char(3) -> T005.LAND1
         NAME1 varchar(35)
         ORT01 varchar(35)
         TELF1 varchar(16) null
         KTOKK char(4)",
        200,
        |g, n| {
            row![
                format!("{:010}", 100_000 + n),
                g.key("T005.LAND1"),
                g.say("firm"),
                g.say("town"),
                g.some(70, |g| format!("+33{}", g.digits(9))),
                g.pick(&["KRED", "0002"])
            ]
        },
    );
    db.table(
        "LFBK",
        "LIFNR char(10) noindex -> LFA1.LIFNR
         BANKL varchar(15)
         IBAN varchar(34)
         KOINH varchar(60) null
         primary key (LIFNR, BANKL)",
        200,
        |g, n| {
            row![
                g.at("LFA1.LIFNR", n),
                g.digits(8),
                g.iban("DE", 18),
                g.some(40, |g| g.say("firm"))
            ]
        },
    );
}

fn materials(db: &mut Database) {
    db.table(
        "MARA",
        "MATNR char(18) pk
         MATKL char(9) -> T023.MATKL
         MTART char(4)
         MEINS char(3)
         BRGEW decimal(13,3)
         EAN11 varchar(18) null
         ZZF07 text null
         ERSDA date",
        500,
        |g, n| {
            let weight =
                super::schema::Value::Number(format!("{}.{}", g.between(0, 80), g.digits(3)));
            row![
                format!("{:018}", 4_000_000 + n),
                g.key("T023.MATKL"),
                g.pick(&["FERT", "HALB", "ROH", "HAWA"]),
                g.pick(&["ST", "KG", "M"]),
                weight,
                g.some(70, |g| g.digits(13)),
                g.some(75, |g| g.prose("usage", 2, 4)),
                g.date(2010, 2025)
            ]
        },
    );
    db.table(
        "MAKT",
        "MATNR char(18) -> MARA.MATNR
         SPRAS char(1)
         MAKTX varchar(40)
         MAKTG varchar(40)
         primary key (MATNR, SPRAS)",
        500,
        |g, n| {
            let text: String = g.say("short").chars().take(40).collect();
            let upper = text.to_uppercase();
            row![g.at("MARA.MATNR", n), "E", text, upper]
        },
    );
    db.table(
        "MARC",
        "MATNR char(18) -> MARA.MATNR
         WERKS char(4)
         BUKRS char(4) -> T001.BUKRS
         DISMM char(2)
         LGPRO char(4) null
         EISBE decimal(13,3)
         primary key (MATNR, WERKS)",
        500,
        |g, n| {
            let stock = super::schema::Value::Number(format!("{}.000", g.between(0, 500)));
            row![
                g.at("MARA.MATNR", n),
                g.pick(&["1000", "1100", "2000"]),
                g.key("T001.BUKRS"),
                g.pick(&["PD", "VB", "ND"]),
                g.some(60, |g| format!("00{}", g.digits(2))),
                stock
            ]
        },
    );
}

fn sales(db: &mut Database) {
    db.table(
        "VBAK",
        "VBELN char(10) pk
         AUART char(4)
         KUNNR char(10) -> KNA1.KUNNR
         KUNWE char(10) null -> KNA1.KUNNR
         BUKRS char(4) -> T001.BUKRS
         BSTNK varchar(20) null
         NETWR decimal(15,2)
         WAERK char(5)
         AUDAT date
         ERNAM varchar(12)",
        900,
        |g, n| {
            row![
                format!("{:010}", 100_000 + n),
                g.pick(&["TA", "RE", "KL"]),
                g.key("KNA1.KUNNR"),
                g.some(30, |g| g.key("KNA1.KUNNR")),
                g.key("T001.BUKRS"),
                g.some(80, |g| format!("PO-{}", g.digits(6))),
                g.amount(50, 90_000),
                "EUR",
                g.date(2020, 2025),
                g.pick(&["MUELLER", "DUPONT", "SMITH"])
            ]
        },
    );
    let lines = db.maker.lines("VBAK.VBELN", 1, 3);
    let rows = lines
        .into_iter()
        .map(|(order, line)| {
            let g = &mut db.maker;
            let quantity = super::schema::Value::Number(format!("{}.000", g.between(1, 60)));
            row![
                order,
                format!("{:06}", line * 10),
                g.key("MARA.MATNR"),
                quantity,
                g.amount(10, 9000),
                g.pick(&["TAN", "TAX", "REN"])
            ]
        })
        .collect();
    db.rows(
        "VBAP",
        "VBELN char(10) noindex -> VBAK.VBELN
         POSNR char(6)
         MATNR char(18) -> MARA.MATNR
         KWMENG decimal(15,3)
         NETPR decimal(11,2)
         PSTYV char(4)
         primary key (VBELN, POSNR)",
        rows,
    );
}

fn schedule(db: &mut Database) {
    let items: Vec<_> = db
        .find("VBAP")
        .expect("the items")
        .rows
        .iter()
        .take(900)
        .cloned()
        .collect();
    let rows = items
        .into_iter()
        .map(|item| {
            let g = &mut db.maker;
            row![
                item[0].clone(),
                item[1].clone(),
                g.date(2024, 2026),
                item[3].clone(),
                g.pick(&["CP", "CN"])
            ]
        })
        .collect();
    db.rows(
        "VBEP",
        "VBELN char(10)
         POSNR char(6)
         EDATU date
         WMENG decimal(15,3)
         ETTYP char(2)
         primary key (VBELN, POSNR)
         foreign key (VBELN, POSNR) -> VBAP (VBELN, POSNR)",
        rows,
    );
}

fn purchasing(db: &mut Database) {
    db.table(
        "EKKO",
        "EBELN char(10) pk
         LIFNR char(10) -> LFA1.LIFNR
         BUKRS char(4) noindex -> T001.BUKRS
         BSART char(4)
         BEDAT date",
        400,
        |g, n| {
            row![
                format!("45{n:08}"),
                g.key("LFA1.LIFNR"),
                g.key("T001.BUKRS"),
                g.pick(&["NB", "UB"]),
                g.date(2021, 2025)
            ]
        },
    );
    let lines = db.maker.lines("EKKO.EBELN", 1, 3);
    let rows = lines
        .into_iter()
        .map(|(order, line)| {
            let g = &mut db.maker;
            row![
                order,
                format!("{:05}", line * 10),
                g.key("MARA.MATNR"),
                g.between(1, 400),
                g.amount(2, 4000)
            ]
        })
        .collect();
    db.rows(
        "EKPO",
        "EBELN char(10) noindex -> EKKO.EBELN
         EBELP char(5)
         MATNR char(18) -> MARA.MATNR
         MENGE int
         NETPR decimal(11,2)
         primary key (EBELN, EBELP)",
        rows,
    );
}

fn quality(db: &mut Database) {
    db.table(
        "QMEL",
        "QMNUM char(12) pk
         QMART char(2) noindex -> TQ80.QMART
         QMTXT varchar(120)
         KUNUM char(10) null -> KNA1.KUNNR
         MATNR char(18) null -> MARA.MATNR
         ERDAT date
         ERNAM varchar(12)
         PRIOK char(1)",
        450,
        |g, n| {
            row![
                format!("{:012}", 200_000 + n),
                g.key("TQ80.QMART"),
                g.say("notif"),
                g.some(70, |g| g.key("KNA1.KUNNR")),
                g.some(90, |g| g.key("MARA.MATNR")),
                g.date(2019, 2025),
                g.pick(&["MUELLER", "DUPONT", "SMITH"]),
                g.digits(1)
            ]
        },
    );
    let lines = db.maker.lines("QMEL.QMNUM", 1, 3);
    let rows = lines
        .into_iter()
        .map(|(notification, line)| {
            row![
                notification,
                format!("{line:04}"),
                db.maker.prose("long", 2, 4)
            ]
        })
        .collect();
    db.rows(
        "ZQMTX",
        "QMNUM char(12) noindex -> QMEL.QMNUM
         TDLNR char(4)
         TDLINE text
         primary key (QMNUM, TDLNR)",
        rows,
    );
}

/// `C17` holds reports of visits: the name of neither the table nor its columns says so.
fn visits(db: &mut Database) {
    db.table(
        "C17",
        "C17_ID bigint pk
         F01 char(8)
         F02 char(10) -> KNA1.KUNNR
         F03 text
         F04 varchar(40)
         F05 text null
         F06 date",
        350,
        |g, n| {
            let code = format!("{}{}", g.letters("ABCD", 2), g.digits(6));
            row![
                n,
                code,
                g.key("KNA1.KUNNR"),
                g.prose("visit", 2, 4),
                format!("{}|{}", g.digits(3), g.letters("XYZ", 4)),
                None::<String>,
                g.date(2020, 2025)
            ]
        },
    );
}

fn technical(db: &mut Database) {
    db.table(
        "USR02",
        "BNAME varchar(12) pk
         BCODE char(40)
         PASSCODE char(64)
         TRDAT date null
         USTYP char(1)",
        120,
        |g, n| {
            row![
                format!("U{n:06}"),
                g.hex(40),
                g.hex(64),
                g.some(80, |g| g.date(2024, 2025)),
                g.pick(&["A", "B"])
            ]
        },
    );
    db.table(
        "CDHDR",
        "CHANGENR char(10) pk
         OBJECTCLAS varchar(15)
         OBJECTID varchar(90)
         USERNAME varchar(12) -> USR02.BNAME
         UDATE date
         TCODE varchar(20)",
        1200,
        |g, n| {
            let (class, id) = if g.chance(50) {
                ("DEBI", g.key("KNA1.KUNNR"))
            } else {
                ("MATERIAL", g.key("MARA.MATNR"))
            };
            row![
                format!("{n:010}"),
                class,
                id,
                g.key("USR02.BNAME"),
                g.date(2023, 2025),
                g.pick(&["XD02", "MM02", "VA02"])
            ]
        },
    );
}

fn logs(db: &mut Database) {
    db.table(
        "ZJOBQ",
        "JOBID bigint pk
         JOBNAME varchar(32)
         STATUS char(1)
         PARAMS text
         STRTDATE date",
        600,
        |g, n| {
            let parameters = format!(
                "P_BUKRS={};P_DATE={};P_TEST=X",
                g.pick(&["1000", "2000"]),
                g.date(2024, 2025)
            );
            row![
                n,
                g.pick(&["RFZALI20", "RSNAST00", "RMMRP000"]),
                g.pick(&["F", "A", "S"]),
                parameters,
                g.date(2024, 2025)
            ]
        },
    );
    db.table(
        "SRLOG",
        "LOGID bigint pk
         UNAME varchar(12) noindex -> USR02.BNAME
         TERMINAL varchar(45)
         MSGNO char(6)",
        1000,
        |g, n| row![n, g.key("USR02.BNAME"), Maker::ip(g), g.digits(6)],
    );
}

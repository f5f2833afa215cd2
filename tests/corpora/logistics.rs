//! A forwarder: abbreviated names, natural keys everywhere, keys of two columns.

use super::generate::{Maker, PEOPLE};
use super::schema::{Database, Value, row, rows};

/// Makes the forwarder's database.
pub fn build() -> Database {
    let mut db = Database::new(101, &[PEOPLE, include_str!("words/logistics.txt")]);
    lookups(&mut db);
    partners(&mut db);
    shipments(&mut db);
    legs(&mut db);
    incidents(&mut db);
    warehouses(&mut db);
    technical(&mut db);
    logs(&mut db);
    db
}

fn lookups(db: &mut Database) {
    db.rows(
        "port",
        "locode char(5) pk
         port_name varchar(60)
         ctry char(2)",
        rows![
            ["NLRTM", "Rotterdam", "NL"],
            ["DEHAM", "Hamburg", "DE"],
            ["BEANR", "Antwerp", "BE"],
            ["PLGDN", "Gdansk", "PL"],
            ["GRPIR", "Piraeus", "GR"],
            ["ESVLC", "Valencia", "ES"],
            ["GBFXT", "Felixstowe", "GB"],
            ["FRLEH", "Le Havre", "FR"],
            ["ITGOA", "Genoa", "IT"],
            ["LVRIX", "Riga", "LV"]
        ],
    );
    db.rows(
        "incoterm",
        "term char(3) pk
         term_name varchar(60)",
        rows![
            ["EXW", "Ex works"],
            ["FOB", "Free on board"],
            ["CIF", "Cost, insurance and freight"],
            ["DAP", "Delivered at place"],
            ["DDP", "Delivered duty paid"]
        ],
    );
    db.rows(
        "cntr_type",
        "iso_code char(4) pk
         descr varchar(20)
         max_kg int",
        rows![
            ["22G1", "20-DC-STD", 28_000],
            ["42G1", "40-DC-STD", 26_500],
            ["45G1", "40-HC-STD", 26_300],
            ["45R1", "40-RF-HC", 29_500],
            ["22T1", "20-TK-L", 30_000]
        ],
    );
}

fn partners(db: &mut Database) {
    db.table(
        "carrier",
        "scac char(4) pk
         carrier_name varchar(80)
         profile text null
         claims_email varchar(160) null",
        60,
        |g, n| {
            let code = format!("{}{n:02}", g.letters("ABCDEFGHKLMNOPRSTVW", 2));
            let name = g.say("carrier");
            let email = g.email("claims", n);
            row![
                code,
                format!("{name} {n}"),
                g.some(90, |g| g.prose("profile", 2, 3)),
                g.some(80, |_| email)
            ]
        },
    );
    db.table(
        "cust",
        "cust_no int pk
         cust_name varchar(80)
         parent_cust_no int null -> cust.cust_no
         eori varchar(17) null
         acct_email varchar(160)
         acct_phone varchar(30) null
         credit_card varchar(20) null
         memo text null",
        250,
        |g, n| {
            let name = g.say("company");
            let email = g.email("accounts", n);
            row![
                7000 + n,
                format!("{name} {n}"),
                (n > 1 && g.chance(20)).then(|| 7000 + g.between(1, n - 1)),
                g.some(70, |g| format!("GB{}", g.digits(12))),
                email,
                g.some(80, |g| g.phone("+44")),
                g.some(20, Maker::card),
                None::<String>
            ]
        },
    );
    db.table(
        "drv",
        "drv_id int pk
         drv_name varchar(80)
         licence_no varchar(20)
         mobile varchar(30)
         haz_cert_no varchar(20) null",
        120,
        |g, n| {
            let name = format!("{} {}", g.say("first"), g.say("last"));
            row![
                n,
                name,
                format!("{}{}", g.letters("ABCDEF", 2), g.digits(9)),
                g.phone("+31"),
                g.some(40, |g| format!("ADR{}", g.digits(7)))
            ]
        },
    );
}

fn shipments(db: &mut Database) {
    db.table(
        "shp",
        "shp_no varchar(14) pk
         shipper_no int -> cust.cust_no
         consignee_no int -> cust.cust_no
         pol char(5) -> port.locode
         pod char(5) -> port.locode
         term char(3) noindex -> incoterm.term
         goods_descr varchar(160)
         spec_instr text null
         gross_kg int
         sts char(3)
         etd timestamp null",
        700,
        |g, n| {
            let goods = format!("{} cartons of {}", g.between(10, 900), g.say("goods"));
            row![
                format!("SHP{:08}", n * 9),
                g.key("cust.cust_no"),
                g.key("cust.cust_no"),
                g.key("port.locode"),
                g.key("port.locode"),
                g.key("incoterm.term"),
                goods,
                g.some(75, |g| g.prose("instruct", 1, 3)),
                g.between(100, 28_000),
                g.pick(&["BKD", "SLD", "ARR", "DLV"]),
                g.some(90, |g| g.timestamp(2024, 2026))
            ]
        },
    );
    db.table(
        "cntr",
        "cntr_no char(11) pk
         iso_code char(4) -> cntr_type.iso_code
         owner_scac char(4) -> carrier.scac",
        300,
        |g, n| {
            row![
                format!("{}U{:07}", g.letters("ABCMT", 3), 1_000_000 + n),
                g.key("cntr_type.iso_code"),
                g.key("carrier.scac")
            ]
        },
    );
    let pairs = db.maker.pairs("shp.shp_no", "cntr.cntr_no", 800);
    let rows = pairs
        .into_iter()
        .map(|(shipment, container)| {
            let seal = format!("SL{}", db.maker.digits(7));
            row![shipment, container, seal, db.maker.between(1, 900)]
        })
        .collect();
    db.rows(
        "shp_cntr",
        "shp_no varchar(14) -> shp.shp_no
         cntr_no char(11) -> cntr.cntr_no
         seal_no varchar(12)
         pkgs int
         primary key (shp_no, cntr_no)",
        rows,
    );
}

fn legs(db: &mut Database) {
    let lines = db.maker.lines("shp.shp_no", 1, 3);
    let rows = lines
        .into_iter()
        .map(|(shipment, leg)| {
            let g = &mut db.maker;
            let driver = g.some(30, |g| g.key("drv.drv_id"));
            row![
                shipment,
                leg,
                g.key("carrier.scac"),
                driver,
                g.key("port.locode"),
                g.key("port.locode"),
                g.pick(&["SEA", "RAI", "TRK"])
            ]
        })
        .collect();
    db.rows(
        "shp_leg",
        "shp_no varchar(14) noindex -> shp.shp_no
         leg_no int
         scac char(4) -> carrier.scac
         drv_id int null -> drv.drv_id
         from_loc char(5) noindex -> port.locode
         to_loc char(5) noindex -> port.locode
         mode char(3)
         primary key (shp_no, leg_no)",
        rows,
    );
    let legs: Vec<Vec<Value>> = db.find("shp_leg").expect("the legs").rows.clone();
    let rows = (1..=1500)
        .map(|n: i64| {
            let g = &mut db.maker;
            let at = g.between(0, 700);
            let leg = &legs[usize::try_from(at).expect("a position")];
            row![
                n,
                leg[0].clone(),
                leg[1].clone(),
                g.pick(&["GTIN", "LOAD", "DEPA", "ARRI"]),
                g.timestamp(2024, 2025)
            ]
        })
        .collect();
    db.rows(
        "trk_evt",
        "evt_id bigint pk
         shp_no varchar(14)
         leg_no int
         evt_cd char(4)
         evt_ts timestamp
         foreign key (shp_no, leg_no) -> shp_leg (shp_no, leg_no)",
        rows,
    );
}

fn incidents(db: &mut Database) {
    db.table(
        "incdt",
        "incdt_id int pk
         shp_no varchar(14) -> shp.shp_no
         cntr_no char(11) null -> cntr.cntr_no
         reported_by int null -> drv.drv_id
         headline varchar(160)
         narrative text
         sev int
         claim_amt decimal(12,2) null
         occurred_at timestamp",
        350,
        |g, n| {
            row![
                n,
                g.key("shp.shp_no"),
                g.some(70, |g| g.key("cntr.cntr_no")),
                g.some(50, |g| g.key("drv.drv_id")),
                g.say("headline"),
                g.prose("narrative", 3, 5),
                g.between(1, 5),
                g.some(50, |g| g.amount(100, 90_000)),
                g.timestamp(2022, 2025)
            ]
        },
    );
    let lines = db.maker.lines("incdt.incdt_id", 1, 3);
    let rows = lines
        .into_iter()
        .map(|(incident, line)| {
            row![
                incident,
                line,
                db.maker.say("act"),
                db.maker.date(2023, 2025)
            ]
        })
        .collect();
    db.rows(
        "incdt_act",
        "incdt_id int noindex -> incdt.incdt_id
         act_no int
         act_txt varchar(200)
         act_date date
         primary key (incdt_id, act_no)",
        rows,
    );
}

fn warehouses(db: &mut Database) {
    db.table(
        "whse",
        "whse_cd char(4) pk
         whse_name varchar(60)
         locode char(5) -> port.locode",
        12,
        |g, n| {
            row![
                format!("W{n:03}"),
                format!("{} depot {n}", g.say("portname")),
                g.key("port.locode")
            ]
        },
    );
    let pairs = db.maker.pairs("whse.whse_cd", "cust.cust_no", 500);
    let rows = pairs
        .into_iter()
        .map(|(warehouse, customer)| {
            let g = &mut db.maker;
            row![
                warehouse,
                customer,
                g.between(0, 300),
                format!("{}/{}", g.letters("ABCD", 1), g.digits(4))
            ]
        })
        .collect();
    db.rows(
        "stk",
        "whse_cd char(4) noindex -> whse.whse_cd
         cust_no int -> cust.cust_no
         plt_qty int
         comment varchar(20)
         primary key (whse_cd, cust_no)",
        rows,
    );
}

fn technical(db: &mut Database) {
    db.table(
        "edi_msg",
        "msg_id bigint pk
         msg_type char(6)
         payload text
         ref_type varchar(10)
         ref_no varchar(20)
         rcvd_at timestamp",
        800,
        |g, n| {
            let payload = format!(
                "UNB+UNOC:3+{}+{}+250101:1200+{n}'UNH+{n}+IFTMIN:D:04A'",
                g.digits(8),
                g.digits(8)
            );
            row![
                n,
                g.pick(&["IFTMIN", "IFTSTA", "CODECO"]),
                payload,
                g.pick(&["SHP", "CNTR"]),
                g.digits(8),
                g.timestamp(2025, 2025)
            ]
        },
    );
    db.table(
        "usr",
        "usr_id int pk
         login varchar(40) unique
         pw varchar(80)
         otp_seed varchar(32) null
         email varchar(160)",
        110,
        |g, n| {
            let name = format!("{} {}", g.say("first"), g.say("last"));
            let email = g.email(&name, n);
            row![
                n,
                format!("u{n:04}"),
                g.bcrypt(),
                g.some(50, |g| g.letters("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 32)),
                email
            ]
        },
    );
}

fn logs(db: &mut Database) {
    db.table(
        "chg_log",
        "chg_id bigint pk
         usr_id int -> usr.usr_id
         tbl_name varchar(20)
         row_key varchar(20)
         old_val varchar(60) null
         new_val varchar(60) null
         chg_ts timestamp",
        1500,
        |g, n| {
            row![
                n,
                g.key("usr.usr_id"),
                g.pick(&["shp", "cust", "cntr"]),
                g.digits(6),
                g.some(70, |g| g.letters("BKDSLARV", 3)),
                g.some(90, |g| g.letters("BKDSLARV", 3)),
                g.timestamp(2025, 2025)
            ]
        },
    );
    db.table(
        "schema_ver",
        "ver int pk
         applied_at timestamp",
        40,
        |g, n| row![n, g.timestamp(2019, 2025)],
    );
}

//! A clinic: singular tables with the prefix `tbl_`, natural keys for diagnoses and medicines.

use super::generate::{Maker, PEOPLE};
use super::schema::{Database, Value, row, rows};

/// Makes the clinic.
pub fn build() -> Database {
    let mut db = Database::new(61, &[PEOPLE, include_str!("words/clinic.txt")]);
    lookups(&mut db);
    doctors(&mut db);
    patients(&mut db);
    visits(&mut db);
    findings(&mut db);
    laboratory(&mut db);
    medicines(&mut db);
    technical(&mut db);
    interfaces(&mut db);
    db.view(
        "vw_today",
        "SELECT a.\"appointment_id\" AS appointment_id, d.\"full_name\" AS doctor, a.\"starts_at\" AS starts_at FROM \"tbl_appointment\" a \
         JOIN \"tbl_doctor\" d ON d.\"doctor_id\" = a.\"doctor_id\"",
    );
    db
}

fn lookups(db: &mut Database) {
    db.rows(
        "tbl_department",
        "department_id int pk
         department_name varchar(60)
         floor_no int",
        rows![
            [1, "Orthopaedics", 2],
            [2, "Cardiology", 3],
            [3, "Dermatology", 1],
            [4, "Paediatrics", 1],
            [5, "General practice", 0],
            [6, "Neurology", 3],
            [7, "ENT", 2],
            [8, "Radiology", 0],
            [9, "Physiotherapy", 4]
        ],
    );
    db.table(
        "tbl_room",
        "room_no varchar(6) pk
         department_id int -> tbl_department.department_id
         capacity int",
        40,
        |g, n| {
            row![
                format!("{}{:02}", g.pick(&["A", "B"]), n),
                g.key("tbl_department.department_id"),
                g.between(1, 6)
            ]
        },
    );
    db.table(
        "tbl_insurer",
        "insurer_id int pk
         insurer_name varchar(80)
         hotline varchar(30) null",
        25,
        |g, n| {
            row![
                n,
                format!("{} Health Fund", g.say("last")),
                g.some(80, |g| g.phone("+44"))
            ]
        },
    );
}

fn doctors(db: &mut Database) {
    db.table(
        "tbl_doctor",
        "doctor_id int pk
         full_name varchar(100)
         department_id int -> tbl_department.department_id
         licence_number varchar(20)
         work_email varchar(160)
         biography text null
         supervisor_id int null -> tbl_doctor.doctor_id",
        110,
        |g, n| {
            let name = format!("Dr {} {}", g.say("first"), g.say("last"));
            let email = g.email(&name, n);
            row![
                n,
                name,
                g.key("tbl_department.department_id"),
                format!("GMC{}", g.digits(7)),
                email,
                g.some(85, |g| g.prose("docbio", 2, 3)),
                g.earlier(n, 60)
            ]
        },
    );
}

fn patients(db: &mut Database) {
    db.table(
        "tbl_patient",
        "patient_id int pk
         mrn char(10) unique
         last_name varchar(60)
         first_name varchar(60)
         date_of_birth date
         nhs_number char(10)
         home_phone varchar(30) null
         email_addr varchar(160) null
         home_address varchar(160)
         insurer_id int null -> tbl_insurer.insurer_id
         policy_no varchar(20) null
         gp_doctor_id int null -> tbl_doctor.doctor_id
         remarks text null",
        450,
        |g, n| {
            let (first, last) = (g.say("first"), g.say("last"));
            let email = g.email(&format!("{first} {last}"), n);
            let address = format!("{} {}", g.between(1, 200), g.say("street"));
            row![
                n,
                format!("MRN{:07}", n * 13),
                last,
                first,
                g.date(1935, 2020),
                g.digits(10),
                g.some(80, |g| g.phone("+44")),
                g.some(60, |_| email),
                address,
                g.some(80, |g| g.key("tbl_insurer.insurer_id")),
                g.some(80, |g| format!("P-{}", g.digits(8))),
                g.some(70, |g| g.key("tbl_doctor.doctor_id")),
                None::<String>
            ]
        },
    );
    db.table(
        "tbl_consent",
        "consent_id int pk
         patient_id int -> tbl_patient.patient_id
         document_type varchar(30)
         document_b64 text
         signed_at timestamp",
        300,
        |g, n| {
            row![
                n,
                g.key("tbl_patient.patient_id"),
                g.pick(&["privacy", "surgery", "research"]),
                g.base64(50),
                g.timestamp(2020, 2025)
            ]
        },
    );
}

fn visits(db: &mut Database) {
    db.table(
        "tbl_appointment",
        "appointment_id int pk
         patient_id int -> tbl_patient.patient_id
         doctor_id int -> tbl_doctor.doctor_id
         room_no varchar(6) null noindex -> tbl_room.room_no
         state char(2)
         starts_at timestamp
         minutes int",
        1200,
        |g, n| {
            row![
                n,
                g.key("tbl_patient.patient_id"),
                g.key("tbl_doctor.doctor_id"),
                g.some(90, |g| g.key("tbl_room.room_no")),
                g.pick(&["BK", "AR", "DN", "NS"]),
                g.timestamp(2022, 2026),
                g.pick(&[10_i64, 15, 30])
            ]
        },
    );
    db.table(
        "tbl_encounter",
        "encounter_id int pk
         appointment_id int unique -> tbl_appointment.appointment_id
         patient_id int -> tbl_patient.patient_id
         treating_doctor_id int -> tbl_doctor.doctor_id
         referring_doctor_id int null -> tbl_doctor.doctor_id
         chief_complaint varchar(200)
         history text
         assessment text
         treatment_plan text null
         created_at timestamp",
        800,
        |g, n| {
            row![
                n,
                g.at("tbl_appointment.appointment_id", n),
                g.key("tbl_patient.patient_id"),
                g.key("tbl_doctor.doctor_id"),
                g.some(25, |g| g.key("tbl_doctor.doctor_id")),
                g.say("complaint"),
                g.prose("history", 2, 4),
                g.prose("assessment", 1, 3),
                g.some(85, |g| g.prose("plan", 1, 3)),
                g.timestamp(2022, 2025)
            ]
        },
    );
}

fn findings(db: &mut Database) {
    let names = [
        "Low back pain",
        "Essential hypertension",
        "Acute bronchitis",
        "Contact dermatitis",
        "Migraine without aura",
        "Sprain of ankle",
        "Type 2 diabetes mellitus",
        "Otitis media",
        "Gastritis",
        "Asthma",
        "Insomnia",
        "Tonsillitis",
    ];
    let rows = names
        .iter()
        .zip(1_i64..)
        .map(|(name, n)| {
            row![
                format!(
                    "{}{:02}.{}",
                    db.maker.letters("ABEGIJKLMS", 1),
                    n * 7,
                    n % 10
                ),
                *name
            ]
        })
        .collect();
    db.rows(
        "tbl_icd10",
        "icd_code varchar(8) pk
         title varchar(120)",
        rows,
    );
    let lines = db.maker.lines("tbl_encounter.encounter_id", 1, 2);
    let rows = lines
        .into_iter()
        .map(|(encounter, line)| {
            row![
                encounter,
                line,
                db.maker.key("tbl_icd10.icd_code"),
                db.maker.pick(&["S", "C"])
            ]
        })
        .collect();
    db.rows(
        "tbl_diagnosis",
        "encounter_id int noindex -> tbl_encounter.encounter_id
         seq_no int
         icd_code varchar(8) -> tbl_icd10.icd_code
         certainty char(1)
         primary key (encounter_id, seq_no)",
        rows,
    );
}

fn laboratory(db: &mut Database) {
    db.table(
        "tbl_lab_result",
        "lab_result_id int pk
         encounter_id int -> tbl_encounter.encounter_id
         analyte varchar(20)
         result_value decimal(10,3)
         unit varchar(12)
         description varchar(30)
         measured_at timestamp",
        1400,
        |g, n| {
            let value = Value::Number(format!("{}.{}", g.between(0, 300), g.digits(3)));
            let codes = format!("{}^{}^LN", g.digits(5), g.letters("HLNA", 1));
            row![
                n,
                g.key("tbl_encounter.encounter_id"),
                g.pick(&["HB", "CRP", "TSH", "GLU", "CREA"]),
                value,
                g.pick(&["mg/dl", "mmol/l", "g/l"]),
                codes,
                g.timestamp(2022, 2025)
            ]
        },
    );
}

fn medicines(db: &mut Database) {
    db.table(
        "tbl_medication",
        "atc_code varchar(10) pk
         medication_name varchar(120)
         leaflet_text text
         is_prescription_only bool",
        140,
        |g, n| {
            let code = format!(
                "{}{:02}{}{:02}",
                g.letters("ABCDGHJLMNPR", 1),
                n % 20,
                g.letters("ABCDX", 2),
                n
            );
            let name = format!("{} {}", g.say("medname"), g.say("form"));
            row![code, name, g.prose("leaflet", 3, 5), g.chance(60)]
        },
    );
    let lines = db.maker.lines("tbl_encounter.encounter_id", 0, 2);
    let rows = lines
        .into_iter()
        .map(|(encounter, line)| {
            let g = &mut db.maker;
            row![
                encounter,
                line,
                g.key("tbl_medication.atc_code"),
                g.say("dosage"),
                g.between(1, 4)
            ]
        })
        .collect();
    db.rows(
        "tbl_prescription",
        "encounter_id int -> tbl_encounter.encounter_id
         line_no int
         atc_code varchar(10) -> tbl_medication.atc_code
         dosage_instructions varchar(160)
         packs int
         primary key (encounter_id, line_no)",
        rows,
    );
}

fn technical(db: &mut Database) {
    db.table(
        "tbl_staff_login",
        "login_name varchar(40) pk
         doctor_id int null unique -> tbl_doctor.doctor_id
         pwd_sha512 char(128)
         totp_secret varchar(32) null",
        110,
        |g, n| {
            row![
                format!("staff{n:03}"),
                g.at("tbl_doctor.doctor_id", n),
                g.hex(128),
                g.some(50, |g| g.letters("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 32))
            ]
        },
    );
    db.table(
        "tbl_access_log",
        "log_id bigint pk
         login_name varchar(40) -> tbl_staff_login.login_name
         object_type varchar(20)
         object_id int
         client_ip varchar(45)
         logged_at timestamp",
        1500,
        |g, n| {
            row![
                n,
                g.key("tbl_staff_login.login_name"),
                g.pick(&["patient", "encounter", "lab_result"]),
                g.between(1, 400),
                Maker::ip(g),
                g.timestamp(2025, 2025)
            ]
        },
    );
}

fn interfaces(db: &mut Database) {
    db.table(
        "tbl_hl7_queue",
        "message_id bigint pk
         raw_message text
         ack char(2) null
         received_at timestamp",
        500,
        |g, n| {
            let message = format!(
                "MSH|^~\\&|LAB|{}|EHR|1|{}||ORU^R01|{n}|P|2.5",
                g.digits(4),
                g.digits(14)
            );
            row![
                n,
                message,
                g.some(90, |g| g.pick(&["AA", "AE"])),
                g.timestamp(2025, 2025)
            ]
        },
    );
    db.table(
        "tbl_db_changelog",
        "change_no int pk
         author varchar(30)
         md5sum char(32)
         executed_at timestamp",
        50,
        |g, n| {
            row![
                n,
                g.pick(&["dba", "ci"]),
                g.hex(32),
                g.timestamp(2018, 2025)
            ]
        },
    );
}

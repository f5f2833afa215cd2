//! Human resources: plural tables in `snake_case`, people with numbers of their own, and two tables that refer to each other.

use super::generate::{Maker, PEOPLE};
use super::schema::{Database, Value, row, rows};

/// Makes the personnel database.
pub fn build() -> Database {
    let mut db = Database::new(83, &[PEOPLE, include_str!("words/hr.txt")]);
    organisation(&mut db);
    employees(&mut db);
    skills(&mut db);
    hiring(&mut db);
    applications(&mut db);
    reviews(&mut db);
    payroll(&mut db);
    technical(&mut db);
    db
}

fn organisation(db: &mut Database) {
    db.rows(
        "locations",
        "site_code varchar(5) pk
         city varchar(60)
         time_zone varchar(40)",
        rows![
            ["LIS1", "Lisbon", "Europe/Lisbon"],
            ["DUB1", "Dublin", "Europe/Dublin"],
            ["OSL1", "Oslo", "Europe/Oslo"],
            ["VIE1", "Vienna", "Europe/Vienna"],
            ["WAW1", "Warsaw", "Europe/Warsaw"],
            ["DUB2", "Dublin", "Europe/Dublin"]
        ],
    );
    db.table(
        "departments",
        "id int pk
         name varchar(60)
         parent_id int null -> departments.id
         head_employee_no int null -> employees.employee_no
         cost_centre char(6)",
        40,
        |g, n| {
            row![
                n,
                format!("{} {}", g.say("dept"), g.pick(&["North", "South", "Group"])),
                g.earlier(n, 75),
                5000 + n * 3,
                format!("CC{}", g.digits(4))
            ]
        },
    );
    db.table(
        "positions",
        "id int pk
         title varchar(100)
         job_description text
         pay_grade char(3)",
        120,
        |g, n| {
            let title = format!("{} {}", g.say("level"), g.say("job").to_lowercase());
            row![
                n,
                title,
                g.prose("duty", 3, 5),
                format!("G{:02}", g.between(1, 15))
            ]
        },
    );
}

fn employees(db: &mut Database) {
    db.table(
        "employees",
        "employee_no int pk
         first_name varchar(60)
         last_name varchar(60)
         work_email varchar(160) unique
         private_phone varchar(30) null
         home_address varchar(160) null
         national_id varchar(16)
         bank_iban varchar(34)
         birth_date date
         department_id int -> departments.id
         position_id int -> positions.id
         manager_no int null -> employees.employee_no
         site_code varchar(5) noindex -> locations.site_code
         salary decimal(10,2)
         hired_on date
         comment text null",
        400,
        |g, n| {
            let (first, last) = (g.say("first"), g.say("last"));
            let email = g.email(&format!("{first} {last}"), n);
            let manager = if n == 1 {
                Value::Null
            } else {
                Value::Int(5000 + g.between(1, n - 1))
            };
            let address = g.some(80, |g| format!("{} {}", g.between(1, 99), g.say("street")));
            row![
                5000 + n,
                first,
                last,
                email,
                g.some(80, |g| g.phone("+351")),
                address,
                g.digits(9),
                g.iban("PT", 21),
                g.date(1960, 2004),
                g.key("departments.id"),
                g.key("positions.id"),
                manager,
                g.key("locations.site_code"),
                g.amount(1200, 9000),
                g.date(2005, 2025),
                None::<String>
            ]
        },
    );
}

fn skills(db: &mut Database) {
    db.table(
        "skills",
        "id int pk
         label varchar(60)",
        30,
        |g, n| row![n, format!("{} {n}", g.say("skill"))],
    );
    let pairs = db.maker.pairs("employees.employee_no", "skills.id", 900);
    let rows = pairs
        .into_iter()
        .map(|(employee, skill)| row![employee, skill, db.maker.between(1, 5)])
        .collect();
    db.rows(
        "employee_skills",
        "employee_no int -> employees.employee_no
         skill_id int -> skills.id
         level int
         primary key (employee_no, skill_id)",
        rows,
    );
    db.table(
        "trainings",
        "code varchar(8) pk
         title varchar(120)
         syllabus text
         trainer_employee_no int null -> employees.employee_no
         days int",
        120,
        |g, n| {
            row![
                format!("TR{:04}", n * 3),
                g.say("course"),
                g.prose("syllabus", 2, 4),
                g.some(70, |g| g.key("employees.employee_no")),
                g.between(1, 5)
            ]
        },
    );
    let pairs = db
        .maker
        .pairs("trainings.code", "employees.employee_no", 700);
    let rows = pairs
        .into_iter()
        .map(|(training, employee)| {
            row![
                training,
                employee,
                db.maker.date(2022, 2025),
                db.maker.chance(90)
            ]
        })
        .collect();
    db.rows(
        "training_attendances",
        "training_code varchar(8) -> trainings.code
         employee_no int -> employees.employee_no
         attended_on date
         passed bool
         primary key (training_code, employee_no)",
        rows,
    );
}

fn hiring(db: &mut Database) {
    db.table(
        "job_postings",
        "id int pk
         position_id int -> positions.id
         department_id int -> departments.id
         headline varchar(160)
         body_html text
         requirements text
         published_on date null",
        200,
        |g, n| {
            row![
                n,
                g.key("positions.id"),
                g.key("departments.id"),
                g.say("offer"),
                g.html("duty", 2),
                g.prose("require", 2, 4),
                g.some(90, |g| g.date(2022, 2025))
            ]
        },
    );
    db.table(
        "candidates",
        "id int pk
         full_name varchar(100)
         email varchar(160)
         mobile varchar(30) null
         linkedin_url varchar(160) null
         cv_text text null
         source varchar(20)",
        350,
        |g, n| {
            let name = format!("{} {}", g.say("first"), g.say("last"));
            let email = g.email(&name, n);
            row![
                n,
                name,
                email,
                g.some(70, |g| g.phone("+353")),
                g.some(50, |g| format!(
                    "https://social.example.com/in/{}",
                    g.hex(10)
                )),
                g.some(85, |g| g.prose("cv", 3, 5)),
                g.pick(&["referral", "website", "agency"])
            ]
        },
    );
    db.rows(
        "application_stages",
        "stage_code char(3) pk
         stage_name varchar(40)",
        rows![
            ["NEW", "Received"],
            ["SCR", "Screening"],
            ["INT", "Interview"],
            ["OFF", "Offer"],
            ["HIR", "Hired"],
            ["REJ", "Rejected"]
        ],
    );
}

fn applications(db: &mut Database) {
    db.table(
        "applications",
        "id int pk
         candidate_id int -> candidates.id
         job_posting_id int -> job_postings.id
         stage_code char(3) -> application_stages.stage_code
         cover_letter text null
         applied_on date",
        500,
        |g, n| {
            row![
                n,
                g.key("candidates.id"),
                g.key("job_postings.id"),
                g.key("application_stages.stage_code"),
                g.some(80, |g| g.prose("letter", 2, 4)),
                g.date(2022, 2025)
            ]
        },
    );
    db.table(
        "interviews",
        "id int pk
         application_id int -> applications.id
         interviewer_no int -> employees.employee_no
         impressions text null
         held_at timestamp
         score int null",
        450,
        |g, n| {
            row![
                n,
                g.key("applications.id"),
                g.key("employees.employee_no"),
                g.some(85, |g| g.prose("talk", 1, 3)),
                g.timestamp(2023, 2025),
                g.some(80, |g| g.between(1, 5))
            ]
        },
    );
}

fn reviews(db: &mut Database) {
    db.table(
        "performance_reviews",
        "id int pk
         employee_no int -> employees.employee_no
         reviewer_no int -> employees.employee_no
         period char(6)
         strengths text
         improvements text null
         rating int",
        500,
        |g, n| {
            row![
                n,
                g.key("employees.employee_no"),
                g.key("employees.employee_no"),
                format!("{}H{}", g.between(2021, 2025), g.between(1, 2)),
                g.prose("strength", 1, 3),
                g.some(80, |g| g.prose("improve", 1, 2)),
                g.between(1, 5)
            ]
        },
    );
}

fn payroll(db: &mut Database) {
    db.rows(
        "absence_types",
        "code char(2) pk
         label varchar(40)",
        rows![
            ["VA", "Vacation"],
            ["SI", "Sick leave"],
            ["PA", "Parental leave"],
            ["TR", "Training"]
        ],
    );
    db.table(
        "absences",
        "id int pk
         employee_no int -> employees.employee_no
         type_code char(2) noindex -> absence_types.code
         first_day date
         last_day date
         certificate_ref varchar(20) null",
        900,
        |g, n| {
            row![
                n,
                g.key("employees.employee_no"),
                g.key("absence_types.code"),
                g.date(2022, 2025),
                g.date(2022, 2025),
                g.some(20, |g| format!("AU-{}", g.digits(8)))
            ]
        },
    );
    let pairs = db.maker.pairs("employees.employee_no", "skills.id", 1000);
    let rows = pairs
        .into_iter()
        .map(|(employee, month)| {
            let Value::Int(month) = month else {
                panic!("ids are numbers")
            };
            let g = &mut db.maker;
            row![
                employee,
                202_400 + month,
                g.amount(1200, 9000),
                g.amount(800, 6000),
                format!("B{}", g.digits(9))
            ]
        })
        .collect();
    db.rows(
        "payslips",
        "employee_no int -> employees.employee_no
         period int
         gross decimal(10,2)
         net decimal(10,2)
         description varchar(12)
         primary key (employee_no, period)",
        rows,
    );
}

fn technical(db: &mut Database) {
    db.table(
        "auth_accounts",
        "id int pk
         employee_no int unique -> employees.employee_no
         password_digest varchar(80)
         recovery_codes text null
         failed_logins int",
        380,
        |g, n| {
            let codes = g.some(40, |g| format!("{} {} {}", g.hex(8), g.hex(8), g.hex(8)));
            row![
                n,
                g.at("employees.employee_no", n),
                g.bcrypt(),
                codes,
                g.between(0, 3)
            ]
        },
    );
    db.table(
        "audit_events",
        "id bigint pk
         entity_type varchar(30)
         entity_id int
         account_id int null -> auth_accounts.id
         diff json
         source_ip varchar(45)
         created_at timestamp",
        1500,
        |g, n| {
            let diff = format!(
                "{{\"salary\": [{}, {}]}}",
                g.between(1000, 3000),
                g.between(3000, 9000)
            );
            row![
                n,
                g.pick(&["employee", "application", "payslip"]),
                g.between(1, 300),
                g.some(80, |g| g.key("auth_accounts.id")),
                diff,
                Maker::ip(g),
                g.timestamp(2025, 2025)
            ]
        },
    );
    db.table(
        "alembic_version",
        "version_num varchar(32) pk",
        1,
        |g, _| row![g.hex(12)],
    );
}
